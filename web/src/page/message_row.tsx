/** One message: a bubble with name, time and state, or a line in the middle. Drawn again only when it changed. */

import { Component, type ComponentChildren } from "preact";
import type { Entry } from "../sdk";
import { Avatar, colourOf } from "./avatar";
import { FailureNote } from "./failure_note";
import { nameOf, noticeText, timeText } from "./format";
import { AlertIcon, CheckIcon, ClockIcon, MoreIcon } from "./icons";
import { LinkText } from "./link_text";
import type { Texts } from "./texts";

export interface RowActions {
  readonly onMenu: (entry: Entry, place: { readonly x: number; readonly y: number }) => void;
  readonly onRetry: (entry: Entry) => void;
  readonly onDiscard: (entry: Entry) => void;
}

interface RowProps {
  readonly entry: Entry;
  /** Follows a message of the same person closely: no name, no picture. */
  readonly joined: boolean;
  readonly texts: Texts;
  readonly actions: RowActions;
}

const LONG_PRESS_MS = 450;
const MAX_DRIFT_PX = 8;

export class MessageRow extends Component<RowProps> {
  private pressTimer: ReturnType<typeof setTimeout> | undefined;
  private pressedAt = { x: 0, y: 0 };

  override shouldComponentUpdate(next: RowProps): boolean {
    const { entry, joined, texts } = this.props;
    return next.entry !== entry || next.joined !== joined || next.texts !== texts;
  }

  override componentWillUnmount(): void {
    clearTimeout(this.pressTimer);
  }

  private readonly openMenu = (event: MouseEvent) => {
    event.preventDefault();
    const { entry, actions } = this.props;
    actions.onMenu(entry, { x: event.clientX, y: event.clientY });
  };

  /** From the button: by keyboard there is no place of a pointer. */
  private readonly openMenuBelow = (event: MouseEvent) => {
    const { bottom, left, right } = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const { entry, actions } = this.props;
    actions.onMenu(entry, { x: entry.mine ? right : left, y: bottom + 4 });
  };

  private readonly onPointerDown = (event: PointerEvent) => {
    if (event.pointerType !== "touch") return;
    this.pressedAt = { x: event.clientX, y: event.clientY };
    clearTimeout(this.pressTimer);
    const { entry, actions } = this.props;
    this.pressTimer = setTimeout(() => {
      navigator.vibrate?.(8);
      actions.onMenu(entry, this.pressedAt);
    }, LONG_PRESS_MS);
  };

  private readonly onPointerMove = (event: PointerEvent) => {
    const drift = Math.hypot(event.clientX - this.pressedAt.x, event.clientY - this.pressedAt.y);
    if (drift > MAX_DRIFT_PX) clearTimeout(this.pressTimer);
  };

  private readonly endPress = () => clearTimeout(this.pressTimer);

  override render({ entry, joined, texts }: RowProps): ComponentChildren {
    const notice = noticeText(entry, texts);
    const data = { "data-key": entry.key, "data-seq": entry.seq || undefined, "data-state": entry.state, "data-sender": entry.senderId };
    if (notice !== null) {
      return (
        <li class="notice" data-testid="message-event" {...data}>
          <span>{notice}</span>
        </li>
      );
    }
    const classes = ["row", entry.mine ? "row-mine" : "row-other", joined ? "row-joined" : "", `row-${entry.state}`];
    return (
      <li class={classes.join(" ")} data-testid="message" {...data}>
        {!entry.mine && (joined ? <span class="avatar-space" /> : <Avatar id={entry.senderId} name={nameOf(entry, texts)} />)}
        <div class="stack">
          {!entry.mine && !joined && <span class={`sender sender-${colourOf(entry.senderId)}`}>{nameOf(entry, texts)}</span>}
          <div class="line">
            {this.bubble(entry, texts)}
            {entry.recalledBySeq === 0 && entry.seq !== 0 && (
              <button
                class="more"
                type="button"
                data-testid="message-menu"
                aria-haspopup="menu"
                title={texts.actions}
                aria-label={texts.actions}
                onClick={this.openMenuBelow}
              >
                <MoreIcon />
              </button>
            )}
          </div>
          {entry.state === "failed" && (
            <FailureNote entry={entry} texts={texts} onRetry={this.props.actions.onRetry} onDiscard={this.props.actions.onDiscard} />
          )}
        </div>
      </li>
    );
  }

  private bubble(entry: Entry, texts: Texts): ComponentChildren {
    const recalled = entry.recalledBySeq !== 0;
    return (
      <div
        class={`bubble ${recalled ? "bubble-recalled" : ""} ${entry.content.kind === "image" ? "bubble-image" : ""}`}
        onContextMenu={recalled || entry.seq === 0 ? undefined : this.openMenu}
        onPointerDown={recalled || entry.seq === 0 ? undefined : this.onPointerDown}
        onPointerMove={this.onPointerMove}
        onPointerUp={this.endPress}
        onPointerCancel={this.endPress}
      >
        <Body entry={entry} texts={texts} />
        <span class="meta">
          <time dateTime={new Date(entry.sentAtMs).toISOString()}>{timeText(entry.sentAtMs, texts)}</time>
          {entry.mine && !recalled && <StateIcon entry={entry} texts={texts} />}
        </span>
      </div>
    );
  }
}

function Body({ entry, texts }: { readonly entry: Entry; readonly texts: Texts }) {
  const { content } = entry;
  if (entry.recalledBySeq !== 0) return <span class="words">{texts.recalled}</span>;
  if (content.kind === "text") {
    return (
      <span class="words" dir="auto">
        <LinkText text={content.text} />
      </span>
    );
  }
  if (content.kind === "image" && isSafeImage(content.url)) {
    return <img src={content.url} width={content.width} height={content.height} alt={content.alt} loading="lazy" decoding="async" />;
  }
  return <span class="words words-unknown">{content.kind === "image" ? texts.picture : texts.unknownContent}</span>;
}

/** Pictures come over https or from the page's own host. */
export function isSafeImage(url: string): boolean {
  return /^https:\/\//i.test(url) || /^\/(?![/\\])/.test(url);
}

function StateIcon({ entry, texts }: { readonly entry: Entry; readonly texts: Texts }) {
  if (entry.state === "sending") {
    return (
      <span class="state" role="img" aria-label={texts.sending}>
        <ClockIcon />
      </span>
    );
  }
  const failed = entry.state === "failed";
  return (
    <span class="state" role="img" aria-label={failed ? texts.failed : texts.sent}>
      {failed ? <AlertIcon /> : <CheckIcon />}
    </span>
  );
}
