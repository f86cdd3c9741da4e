/** Which rows of a long list are in the document: some hundreds around where the reader is, never all. */

/** `following`: the newest rows; otherwise rows from one with a known key on. */
export type WindowState =
  | { readonly following: true }
  | { readonly following: false; readonly startKey: string; readonly count: number };

export interface Range {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

interface Keyed {
  readonly key: string;
}

export const FOLLOWING_ROWS = 100;
export const STEP_ROWS = 60;
export const MAX_ROWS = 280;

/** The rows of a state; a start that is not there any more counts as the newest rows. */
export function rangeOf(rows: readonly Keyed[], state: WindowState): Range {
  const newest = { start: Math.max(0, rows.length - FOLLOWING_ROWS), end: rows.length };
  if (state.following) return newest;
  const start = rows.findIndex((row) => row.key === state.startKey);
  if (start < 0) return newest;
  return { start, end: Math.min(rows.length, start + state.count) };
}

/** The state that keeps a range where it is. */
export function holding(rows: readonly Keyed[], range: Range): WindowState {
  const first = rows[range.start];
  if (first === undefined) return { following: true };
  return { following: false, startKey: first.key, count: range.end - range.start };
}

/** More rows above; the surplus below goes. */
export function extendedUp(rows: readonly Keyed[], range: Range): WindowState {
  const start = Math.max(0, range.start - STEP_ROWS);
  return holding(rows, { start, end: Math.min(range.end, start + MAX_ROWS) });
}

/** More rows below; the surplus above goes. */
export function extendedDown(rows: readonly Keyed[], range: Range): WindowState {
  const end = Math.min(rows.length, range.end + STEP_ROWS);
  return holding(rows, { start: Math.max(range.start, end - MAX_ROWS), end });
}
