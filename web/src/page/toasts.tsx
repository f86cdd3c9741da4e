/** Short words at the bottom that go by themselves. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";

export interface Toasts {
  readonly text: string;
  readonly show: (text: string) => void;
}

const SHOWN_MS = 3_500;

export function useToasts(): Toasts {
  const [text, setText] = useState("");
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const show = useCallback((next: string) => {
    clearTimeout(timer.current);
    setText(next);
    timer.current = setTimeout(() => setText(""), SHOWN_MS);
  }, []);
  useEffect(() => () => clearTimeout(timer.current), []);
  return { text, show };
}

export function ToastArea({ toasts }: { readonly toasts: Toasts }) {
  return (
    <div class="toast-area" role="status" aria-live="polite">
      {toasts.text !== "" && <div class="toast">{toasts.text}</div>}
    </div>
  );
}
