/** Reminder queue of a group: seqs that were announced and are not held yet, and messages that came before their turn. */

import type { Message } from "./types";

/** A range to pull: what lies after the one up to the other. */
export interface Gap {
  readonly afterSeq: number;
  readonly upToSeq: number;
}

const MAX_EARLY = 1_000;

/**
 * Seqs are dense, so all announced reminders together are one number: the newest. Messages that came early wait here until
 * the gap before them is pulled; at most 1,000 of them, and those furthest ahead are dropped (a later pull brings them).
 */
export class ReminderQueue {
  private announced = 0;
  private epoch = 0;
  private readonly early = new Map<number, Message>();

  /** Newest seq that anybody told of. */
  get head(): number {
    return this.announced;
  }

  /** Notes that messages up to `seq` exist. */
  announce(seq: number): void {
    if (seq > this.announced) this.announced = seq;
  }

  /** Keeps a message for its turn. */
  keep(message: Message): void {
    this.announce(message.seq);
    if (this.early.has(message.seq)) return;
    if (this.early.size >= MAX_EARLY) {
      const furthest = Math.max(...this.early.keys());
      if (furthest <= message.seq) return;
      this.early.delete(furthest);
    }
    this.early.set(message.seq, message);
  }

  /** Takes out the messages that follow `heldSeq` without a hole; forgets those at or below it. */
  take(heldSeq: number): Message[] {
    const ready: Message[] = [];
    if (this.early.size === 0) return ready;
    for (const seq of this.early.keys()) if (seq <= heldSeq) this.early.delete(seq);
    for (let next = heldSeq + 1; ; next += 1) {
      const message = this.early.get(next);
      if (message === undefined) return ready;
      this.early.delete(next);
      ready.push(message);
    }
  }

  /** The first hole after `heldSeq`; null: nothing is missing. */
  gap(heldSeq: number): Gap | null {
    if (this.announced <= heldSeq) return null;
    let upToSeq = this.announced;
    for (const seq of this.early.keys()) if (seq > heldSeq && seq - 1 < upToSeq) upToSeq = seq - 1;
    return { afterSeq: heldSeq, upToSeq };
  }

  /** Forgets everything when it was of another epoch. */
  startEpoch(epoch: number): void {
    if (epoch === this.epoch) return;
    this.epoch = epoch;
    this.announced = 0;
    this.early.clear();
  }
}
