/** One open group: its head, announcement, messages and the composer. */

import { useState } from "preact/hooks";
import type { GroupSession, GroupView, ThrongClient } from "../sdk";
import { Avatar } from "./avatar";
import { Composer } from "./composer";
import { useStore, useTexts } from "./hooks";
import { BackIcon, MegaphoneIcon } from "./icons";
import { MessageList } from "./message_list";
import { refusalText } from "./texts";

interface ConversationProps {
  readonly client: ThrongClient;
  readonly session: GroupSession;
  readonly toast: (text: string) => void;
  readonly onBack: () => void;
}

export function ConversationView({ client, session, toast, onBack }: ConversationProps) {
  const texts = useTexts();
  const view = useStore(session.view);
  const name = view.info?.name || session.groupId;
  const closed = view.phase === "removed" || view.phase === "refused";
  return (
    <section class="pane pane-conversation" aria-label={name}>
      <header class="bar">
        <button class="icon-button back" type="button" data-testid="back" title={texts.back} aria-label={texts.back} onClick={onBack}>
          <BackIcon />
        </button>
        <Avatar id={session.groupId} name={name} square />
        <div class="bar-words">
          <h2>{name}</h2>
          <p data-testid="member-count">{countsText(view, texts)}</p>
        </div>
      </header>
      {view.info !== null && view.info.announcement !== "" && <Announcement text={view.info.announcement} />}
      {closed ? (
        <div class="empty" role="alert">
          <p>{view.phase === "removed" || view.refusal === null ? texts.removedFromGroup : refusalText(texts, view.refusal)}</p>
        </div>
      ) : (
        <>
          <MessageList client={client} session={session} view={view} toast={toast} />
          <Composer
            client={client}
            groupId={session.groupId}
            sendIntervalMs={session.sendIntervalMs}
            sendableAtMs={view.sendableAtMs}
            toast={toast}
          />
        </>
      )}
    </section>
  );
}

function countsText(view: GroupView, texts: ReturnType<typeof useTexts>): string {
  if (view.info === null) return " ";
  const members = texts.members(Math.max(view.info.memberCount, 1));
  return view.online === null ? members : `${members} · ${texts.online(view.online)}`;
}

function Announcement({ text }: { readonly text: string }) {
  const texts = useTexts();
  const [all, setAll] = useState(false);
  return (
    <aside class={`announcement ${all ? "announcement-all" : ""}`} aria-label={texts.announcement}>
      <MegaphoneIcon />
      <p dir="auto">{text}</p>
      <button type="button" class="link" aria-expanded={all} onClick={() => setAll(!all)}>
        {all ? texts.showLess : texts.showAll}
      </button>
    </aside>
  );
}
