/** Below a message that was not sent: why, and trying again or removing it; a retry time counts down. */

import type { Entry } from "../sdk";
import { useSecondsUntil } from "./hooks";
import { refusalWords, type Texts } from "./texts";

interface FailureProps {
  readonly entry: Entry;
  readonly texts: Texts;
  readonly onRetry: (entry: Entry) => void;
  readonly onDiscard: (entry: Entry) => void;
}

export function FailureNote({ entry, texts, onRetry, onDiscard }: FailureProps) {
  const seconds = useSecondsUntil(entry.retryAtMs);
  return (
    <div class="failure">
      <span role="alert">{entry.refusal === null ? texts.failed : refusalWords(texts, entry.refusal)}</span>
      <button type="button" class="link" data-testid="retry" disabled={seconds > 0} onClick={() => onRetry(entry)}>
        {seconds > 0 ? texts.retryIn(seconds) : texts.retry}
      </button>
      <button type="button" class="link link-quiet" data-testid="discard" onClick={() => onDiscard(entry)}>
        {texts.remove}
      </button>
    </div>
  );
}
