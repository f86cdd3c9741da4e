/** Preact's view of the SDK: stores as state, and the texts of the page's language. */

import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";
import type { Store } from "../sdk";
import { textsFor, type Texts } from "./texts";

export const TextsContext = createContext<Texts>(textsFor("en"));

export function useTexts(): Texts {
  return useContext(TextsContext);
}

/** The value of a store; many changes between two frames make one rendering. */
export function useStore<T>(store: Store<T>): T {
  const [, setVersion] = useState(0);
  useEffect(() => {
    let shown = store.get();
    let frame = 0;
    const render = () => {
      frame = 0;
      if (Object.is(shown, store.get())) return;
      shown = store.get();
      setVersion((version) => version + 1);
    };
    // A hidden page gets no frames, and its title still has to count.
    const schedule = () => {
      if (document.hidden) render();
      else if (frame === 0) frame = requestAnimationFrame(render);
    };
    schedule();
    const stop = store.subscribe(schedule);
    return () => {
      stop();
      cancelAnimationFrame(frame);
    };
  }, [store]);
  return store.get();
}

/** Whole seconds until a moment of the client's clock, counting down; 0: it has come. */
export function useSecondsUntil(timeMs: number): number {
  const [, tick] = useState(0);
  const seconds = Math.max(0, Math.ceil((timeMs - Date.now()) / 1000));
  useEffect(() => {
    if (seconds === 0) return;
    const timer = setTimeout(() => tick((count) => count + 1), timeMs - Date.now() - (seconds - 1) * 1000 + 5);
    return () => clearTimeout(timer);
  }, [timeMs, seconds]);
  return seconds;
}
