/** Unread count of one entered group (I7): exact from what is held, otherwise the server's count plus what came since. */

import { countsAsUnread, type Entry } from "./message_queue";
import type { Unread } from "./types";

const MOST = 99;

export class UnreadCounter {
  private read = 0;
  private base: Unread = { count: 0, capped: false, readSeq: 0 };
  private baseSeq = 0;

  get readSeq(): number {
    return this.read;
  }

  /** Takes the server's count, which holds up to `upToSeq`. */
  setBase(unread: Unread, upToSeq: number): void {
    this.base = unread;
    this.baseSeq = upToSeq;
    this.read = Math.max(this.read, unread.readSeq);
  }

  /** The user has seen everything up to `seq`; returns whether that is new. */
  markRead(seq: number): boolean {
    if (seq <= this.read) return false;
    this.read = seq;
    return true;
  }

  /** Starts again for a history of another epoch. */
  clear(): void {
    this.read = 0;
    this.base = { count: 0, capped: false, readSeq: 0 };
    this.baseSeq = 0;
  }

  /**
   * Counts; `floorSeq` is the oldest seq among `entries`, `heldSeq` the newest. `headSeq` above that: a hidden page holds no more, and
   * takes each message that it only heard of for one of others.
   */
  count(entries: readonly Entry[], floorSeq: number, heldSeq: number, headSeq: number): Unread {
    const exact = floorSeq <= this.read + 1;
    const from = exact ? this.read : Math.max(this.baseSeq, this.read);
    let count = (exact ? 0 : this.base.count) + Math.max(0, headSeq - Math.max(heldSeq, from));
    for (let index = entries.length - 1; index >= 0 && count <= MOST; index -= 1) {
      const entry = entries[index];
      if (entry === undefined || (!entry.mine && entry.seq <= from)) break;
      if (entry.seq > from && countsAsUnread(entry)) count += 1;
    }
    const capped = count > MOST || (!exact && this.base.capped);
    return { count: Math.min(count, MOST), capped, readSeq: this.read };
  }
}
