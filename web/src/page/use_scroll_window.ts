/** Keeps a window of rows in the document and the reader where he is, whatever is added above or below. */

import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { extendedDown, extendedUp, holding, rangeOf, type Range, type WindowState } from "./window_range";

interface Keyed {
  readonly key: string;
}

interface Older {
  readonly hasOlder: boolean;
  readonly loadOlder: () => void;
}

export interface ScrollWindow {
  readonly scroller: { current: HTMLDivElement | null };
  readonly range: Range;
  /** The reader stands at the newest row and stays there. */
  readonly following: boolean;
  readonly onScroll: () => void;
  readonly toNewest: () => void;
}

const BOTTOM_PX = 48;
const NEAR_PX = 500;

export function useScrollWindow(rows: readonly Keyed[], older: Older): ScrollWindow {
  const scroller = useRef<HTMLDivElement>(null);
  const [state, setState] = useState<WindowState>({ following: true });
  const range = rangeOf(rows, state);
  const live = useRef({ rows, range, state, older });
  live.current = { rows, range, state, older };
  const anchor = useRef<{ readonly key: string; readonly top: number } | null>(null);
  const lastTop = useRef(0);

  /** Looks where the reader is and gets rows before he reaches the end of them. */
  const settle = useCallback((scrolledUp: boolean) => {
    const element = scroller.current;
    if (element === null) return;
    const { rows: all, range: shown, state: now, older: more } = live.current;
    const below = element.scrollHeight - element.scrollTop - element.clientHeight;
    const newest = shown.end === all.length;
    if (newest && below < BOTTOM_PX && !(scrolledUp && now.following && below > 2)) {
      if (!now.following) setState({ following: true });
    } else if (now.following && scrolledUp) setState(holding(all, shown));
    if (element.scrollTop < NEAR_PX && (scrolledUp || !now.following)) {
      if (shown.start > 0) setState(extendedUp(all, shown));
      else if (more.hasOlder) more.loadOlder();
    } else if (!newest && below < NEAR_PX) setState(extendedDown(all, shown));
    anchor.current = anchorOf(element);
  }, []);

  const onScroll = useCallback(() => {
    const top = scroller.current?.scrollTop ?? 0;
    const scrolledUp = top < lastTop.current - 1;
    lastTop.current = top;
    settle(scrolledUp);
  }, [settle]);

  const toNewest = useCallback(() => setState({ following: true }), []);

  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    if (state.following) element.scrollTop = element.scrollHeight;
    else if (anchor.current !== null) keepAt(element, anchor.current);
    lastTop.current = element.scrollTop;
    anchor.current = anchorOf(element);
    if (!state.following) settle(false);
  }, [rows, state]);

  useEffect(() => {
    const element = scroller.current;
    const content = element?.firstElementChild;
    if (element === null || content === null || content === undefined) return;
    // Pictures that load and keyboards that open change heights without a rendering.
    const observer = new ResizeObserver(() => {
      if (!live.current.state.following) return;
      element.scrollTop = element.scrollHeight;
      lastTop.current = element.scrollTop;
    });
    observer.observe(element);
    observer.observe(content);
    return () => observer.disconnect();
  }, []);

  return { scroller, range, following: state.following, onScroll, toNewest };
}

/** The first row that is in sight, and how far below the upper edge it begins. */
function anchorOf(scroller: HTMLElement): { readonly key: string; readonly top: number } | null {
  const upper = scroller.getBoundingClientRect().top;
  const rows = scroller.querySelectorAll<HTMLElement>("[data-key]");
  let low = 0;
  let high = rows.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((rows[middle]?.getBoundingClientRect().bottom ?? 0) <= upper) low = middle + 1;
    else high = middle;
  }
  const row = rows[low];
  const key = row?.dataset["key"];
  return row === undefined || key === undefined ? null : { key, top: row.getBoundingClientRect().top - upper };
}

function keepAt(scroller: HTMLElement, anchor: { readonly key: string; readonly top: number }): void {
  const row = scroller.querySelector<HTMLElement>(`[data-key="${CSS.escape(anchor.key)}"]`);
  if (row === null) return;
  const moved = row.getBoundingClientRect().top - scroller.getBoundingClientRect().top - anchor.top;
  if (Math.abs(moved) >= 1) scroller.scrollTop += moved;
}
