/** Where one writes: grows with its text, Enter sends, Shift+Enter breaks the line, an input method is left in peace. */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { SLOW_MODE_FROM_MS, type ThrongClient } from "../sdk";
import { useSecondsUntil, useTexts } from "./hooks";
import { SendIcon } from "./icons";

interface ComposerProps {
  readonly client: ThrongClient;
  readonly groupId: string;
  readonly sendIntervalMs: number;
  /** Slow mode: the next message may go out then, milliseconds since 1970. */
  readonly sendableAtMs: number;
  readonly toast: (text: string) => void;
}

export const MAX_TEXT_CHARACTERS = 4_000;
const COUNTER_FROM = 3_700;
const MAX_HEIGHT_PX = 160;
const drafts = new Map<string, string>();

export function Composer({ client, groupId, sendIntervalMs, sendableAtMs, toast }: ComposerProps) {
  const texts = useTexts();
  const [text, setText] = useState(drafts.get(groupId) ?? "");
  const field = useRef<HTMLTextAreaElement>(null);
  const length = text.length > COUNTER_FROM ? [...text].length : text.length;
  const waitSeconds = useSecondsUntil(sendableAtMs);
  const sendable = text.trim() !== "" && length <= MAX_TEXT_CHARACTERS && waitSeconds === 0;

  useEffect(() => {
    // A phone would open its keyboard over what one came to read.
    if (matchMedia("(hover: hover)").matches) field.current?.focus();
  }, []);
  useLayoutEffect(() => {
    const element = field.current;
    if (element === null) return;
    element.style.height = "auto";
    element.style.height = `${Math.min(element.scrollHeight, MAX_HEIGHT_PX)}px`;
  }, [text]);

  const change = (next: string) => {
    setText(next);
    if (next === "") drafts.delete(groupId);
    else drafts.set(groupId, next);
  };
  const send = () => {
    if (!sendable) return;
    if (client.send(groupId, text.trim()) === null) toast(texts.queueFull);
    else change("");
    field.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // 229: Safari ends a composition before the Enter that confirmed it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    send();
  };
  const placeholder = sendIntervalMs >= SLOW_MODE_FROM_MS ? texts.slowMode(Math.round(sendIntervalMs / 1000)) : texts.message;
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div class="composer-box">
        <textarea
          ref={field}
          data-testid="composer-input"
          rows={1}
          dir="auto"
          value={text}
          placeholder={placeholder}
          aria-label={texts.message}
          aria-invalid={length > MAX_TEXT_CHARACTERS}
          enterkeyhint="send"
          onInput={(event) => change(event.currentTarget.value)}
          onKeyDown={onKeyDown}
        />
        {length > COUNTER_FROM && (
          <span class={`counter ${length > MAX_TEXT_CHARACTERS ? "counter-over" : ""}`} role="status" data-testid="composer-counter">
            {texts.charactersLeft(MAX_TEXT_CHARACTERS - length)}
          </span>
        )}
      </div>
      <button
        class="send"
        type="submit"
        data-testid="composer-send"
        title={waitSeconds > 0 ? texts.slowModeWait(waitSeconds) : texts.send}
        aria-label={waitSeconds > 0 ? texts.slowModeWait(waitSeconds) : texts.send}
        disabled={!sendable}
        onPointerDown={(event) => event.preventDefault()}
      >
        {waitSeconds > 0 ? (
          <span class="send-wait" data-testid="composer-wait">
            {shortTime(waitSeconds)}
          </span>
        ) : (
          <SendIcon />
        )}
      </button>
    </form>
  );
}

/** Seconds in the room of a round button: 59, then 1:00. */
function shortTime(seconds: number): string {
  return seconds < 60 ? `${seconds}` : `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
