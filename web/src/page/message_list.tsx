/** The messages of the open group: a window of rows, kept where the reader is, with older ones on demand. */

import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import type { Entry, GroupSession, GroupView, ThrongClient } from "../sdk";
import { dayOf, dayText } from "./format";
import { useTexts } from "./hooks";
import { DownIcon } from "./icons";
import { MessageMenu, type MenuPlace } from "./message_menu";
import { MessageRow, type RowActions } from "./message_row";
import { refusalText, type Texts } from "./texts";
import { useScrollWindow } from "./use_scroll_window";

interface MessageListProps {
  readonly client: ThrongClient;
  readonly session: GroupSession;
  readonly view: GroupView;
  readonly toast: (text: string) => void;
}

const JOIN_WITHIN_MS = 5 * 60_000;

export function MessageList({ client, session, view, toast }: MessageListProps) {
  const texts = useTexts();
  const { entries } = view;
  const [menu, setMenu] = useState<MenuPlace | null>(null);
  const scroll = useScrollWindow(entries, { hasOlder: view.hasOlder, loadOlder: () => session.loadOlder() });
  const unseen = useUnseen(view, scroll.following);
  const dividerSeq = useDivider(view);
  useReading(session, view, scroll.following);
  useOwnToBottom(entries, scroll.toNewest);

  const actions = useMemo<RowActions>(
    () => ({
      onMenu: (entry, { x, y }) => setMenu({ entry, x, y }),
      onRetry: (entry) => client.retry(session.groupId, entry.clientMsgId),
      onDiscard: (entry) => session.discard(entry.clientMsgId),
    }),
    [client, session],
  );
  const report = (refusal: Parameters<typeof refusalText>[1] | null) => refusal !== null && toast(refusalText(texts, refusal));
  const copy = (entry: Entry) => {
    if (entry.content.kind !== "text") return;
    void copyText(entry.content.text).then((done) => done && toast(texts.copied));
  };
  const rows = entries.slice(scroll.range.start, scroll.range.end);
  return (
    <div class="messages-frame">
      <div
        class="messages"
        ref={scroll.scroller}
        onScroll={scroll.onScroll}
        tabIndex={0}
        role="log"
        aria-live="polite"
        aria-label={texts.messagesOf(view.info?.name || view.groupId)}
        data-testid="message-scroller"
      >
        <ol class="rows" data-testid="message-list">
          {scroll.range.start === 0 && <Top view={view} texts={texts} onOlder={() => session.loadOlder()} />}
          {rowsOf(rows, entries[scroll.range.start - 1], { texts, actions, dividerSeq })}
        </ol>
        {entries.length === 0 && view.phase === "ready" && !view.hasOlder && (
          <div class="empty">
            <strong>{texts.noMessages}</strong>
            <span>{texts.noMessagesHint}</span>
          </div>
        )}
        {entries.length === 0 && view.phase !== "ready" && <div class="empty" aria-busy="true" />}
      </div>
      {!scroll.following && (
        <button type="button" class={`pill ${unseen > 0 ? "pill-new" : ""}`} data-testid="new-messages-pill" onClick={scroll.toNewest}>
          <DownIcon />
          {unseen > 0 ? texts.newMessages(unseen) : texts.toNewest}
        </button>
      )}
      {menu !== null && (
        <MessageMenu
          place={menu}
          role={view.role}
          onCopy={copy}
          onRecall={(entry) => session.recall(entry.seq, report)}
          onDelete={(entry) => session.deleteForMe(entry.seq, report)}
          onClose={() => setMenu(null)}
        />
      )}
    </div>
  );
}

interface RowContext {
  readonly texts: Texts;
  readonly actions: RowActions;
  readonly dividerSeq: number;
}

/** Rows with what stands between them: days, and where the unread ones begin. */
function rowsOf(rows: readonly Entry[], before: Entry | undefined, { texts, actions, dividerSeq }: RowContext): ComponentChildren[] {
  const shown: ComponentChildren[] = [];
  let previous = before;
  for (const entry of rows) {
    const newDay = previous === undefined || dayOf(previous.sentAtMs) !== dayOf(entry.sentAtMs);
    if (newDay) {
      shown.push(
        <li key={`day-${entry.key}`} class="day" role="separator">
          <span>{dayText(entry.sentAtMs, Date.now(), texts)}</span>
        </li>,
      );
    }
    const divided = dividerSeq !== 0 && entry.seq === dividerSeq;
    if (divided) {
      shown.push(
        <li key="divider" class="divider" role="separator" data-testid="unread-divider">
          <span>{texts.unreadFromHere}</span>
        </li>,
      );
    }
    const joined = !newDay && !divided && previous !== undefined && belongsTo(previous, entry);
    shown.push(<MessageRow key={entry.key} entry={entry} joined={joined} texts={texts} actions={actions} />);
    previous = entry;
  }
  return shown;
}

function belongsTo(previous: Entry, entry: Entry): boolean {
  const bubble = previous.content.kind !== "system" && previous.content.kind !== "recall";
  return bubble && previous.senderId === entry.senderId && entry.sentAtMs - previous.sentAtMs < JOIN_WITHIN_MS;
}

function Top({ view, texts, onOlder }: { readonly view: GroupView; readonly texts: Texts; readonly onOlder: () => void }) {
  if (view.hasOlder) {
    return (
      <li class="top" key="top">
        <button type="button" class="chip" data-testid="load-older" disabled={view.loadingOlder} onClick={onOlder}>
          {view.loadingOlder ? texts.loadingOlder : texts.loadOlder}
        </button>
      </li>
    );
  }
  if (view.entries.length === 0) return null;
  return (
    <li class="top" key="top">
      {texts.beginning}
    </li>
  );
}

/** How many messages of others came since the reader left the newest. */
function useUnseen(view: GroupView, following: boolean): number {
  const [seenSeq, setSeenSeq] = useState(view.heldSeq);
  useEffect(() => {
    if (following) setSeenSeq(view.heldSeq);
  }, [following, view.heldSeq]);
  if (following) return 0;
  let count = 0;
  for (let index = view.entries.length - 1; index >= 0 && count < 100; index -= 1) {
    const entry = view.entries[index];
    if (entry === undefined || (!entry.mine && entry.seq <= seenSeq)) break;
    if (!entry.mine && entry.content.kind !== "recall") count += 1;
  }
  return count;
}

/** Seq of the first message that was unread when the group was opened; 0: none. */
function useDivider(view: GroupView): number {
  const [seq, setSeq] = useState<number | null>(null);
  useEffect(() => {
    if (seq !== null || view.phase !== "ready") return;
    const { count, readSeq } = view.unread;
    const first = view.entries.find((entry) => !entry.mine && entry.seq > readSeq);
    setSeq(count > 0 && readSeq > 0 ? (first?.seq ?? 0) : 0);
  }, [view.phase]);
  return seq ?? 0;
}

/** What stands at the bottom of a visible page has been read. */
function useReading(session: GroupSession, view: GroupView, following: boolean): void {
  const [hidden, setHidden] = useState(document.hidden);
  useEffect(() => {
    const update = () => setHidden(document.hidden);
    document.addEventListener("visibilitychange", update);
    return () => document.removeEventListener("visibilitychange", update);
  }, []);
  useEffect(() => {
    session.setFollowing(following);
    if (following && !hidden && view.phase === "ready") session.markRead(view.heldSeq);
  }, [session, following, hidden, view.heldSeq, view.phase]);
}

/** Whoever writes wants to see it. */
function useOwnToBottom(entries: readonly Entry[], toNewest: () => void): void {
  const last = entries.at(-1);
  const ownKey = last !== undefined && last.mine && last.state === "sending" ? last.key : "";
  const jump = useCallback(toNewest, [toNewest]);
  useEffect(() => {
    if (ownKey !== "") jump();
  }, [ownKey]);
}

async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
