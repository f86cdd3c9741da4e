/** Message queue of a group: what is shown, each message once, in seq order, one's own where they were written (I5). */

import type { Content, Message, Refusal } from "./types";

/** `received`: of others; `sending`, `sent`, `failed`: one's own. */
export type EntryState = "received" | "sending" | "sent" | "failed";

/** One shown row; a change makes a new object, so rows can be compared by identity. */
export interface Entry {
  /** Stable from the first moment on, also when an own message gets its seq. */
  readonly key: string;
  /** 0: not known yet. */
  readonly seq: number;
  readonly state: EntryState;
  readonly mine: boolean;
  readonly clientMsgId: string;
  readonly senderId: string;
  readonly senderName: string;
  readonly sentAtMs: number;
  readonly recalledBySeq: number;
  readonly content: Content;
  /** Why it failed. */
  readonly refusal: Refusal | null;
  /** When trying again makes sense, milliseconds since 1970; 0: at once. */
  readonly retryAtMs: number;
}

/** Beyond this the oldest are dropped from memory while the reader is at the newest; they come back as history. */
export const MAX_ENTRIES = 5_000;
const TRIM_TO = 4_000;
const HARD_MAX_ENTRIES = 4 * MAX_ENTRIES;
const NOTHING: Content = { kind: "none" };

export class MessageQueue {
  private list: Entry[] = [];
  private bySeq = new Map<number, Entry>();
  private echoes = new Map<string, Entry>();
  private readonly floating = new Set<string>();
  private readonly hidden = new Set<number>();
  private newest = 0;
  private oldest = 1;

  /** `me` tells one's own user id, which the first `welcome` brings. */
  constructor(private readonly me: () => string) {}

  /** Everything from `floorSeq` to here is held; 0: nothing. */
  get heldSeq(): number {
    return this.newest;
  }

  /** Oldest seq held; `heldSeq` + 1 when none is. */
  get floorSeq(): number {
    return this.oldest;
  }

  /** What is shown, in order. The array is replaced on change, never altered. */
  get entries(): readonly Entry[] {
    return this.list;
  }

  /** Drops everything but unsent echoes and takes a page without holes; `heldSeq` is the seq held when the page is empty. */
  replace(page: readonly Message[], heldSeq: number): void {
    const waiting = this.list.filter((entry) => entry.state === "sending" || entry.state === "failed");
    this.list = [];
    this.bySeq = new Map();
    this.echoes = new Map();
    this.newest = page.at(-1)?.seq ?? heldSeq;
    this.oldest = page[0]?.seq ?? heldSeq + 1;
    for (const message of page) this.place(message);
    for (const echo of waiting) {
      if (this.echoes.has(echo.clientMsgId)) continue;
      this.list.push(echo);
      this.echoes.set(echo.clientMsgId, echo);
    }
  }

  /** Forgets which messages were deleted, for a history of another epoch. */
  forgetHidden(): void {
    this.hidden.clear();
  }

  /** Takes messages in order; each must be the next one or is dropped as a duplicate. Returns how many were taken. */
  append(messages: readonly Message[]): number {
    let taken = 0;
    this.list = [...this.list];
    for (const message of messages) {
      if (message.seq !== this.newest + 1) continue;
      this.newest = message.seq;
      this.place(message);
      taken += 1;
    }
    this.sink();
    return taken;
  }

  /** Puts older messages before what is held; they must end just below `floorSeq`. Returns whether they were taken. */
  prepend(messages: readonly Message[]): boolean {
    const last = messages.at(-1);
    if (last === undefined || last.seq !== this.oldest - 1) return false;
    const rows: Entry[] = [];
    for (const message of messages) {
      const row = this.entryOf(message);
      const echo = row.mine ? this.echoes.get(row.clientMsgId) : undefined;
      if (echo !== undefined) this.swap(echo, { ...row, key: echo.key });
      else if (!this.hidden.has(row.seq)) rows.push(row);
      if (echo === undefined) this.remember(row);
    }
    this.oldest = messages[0]?.seq ?? this.oldest;
    this.list = [...rows, ...this.list];
    return true;
  }

  /** No connection: what is unsent stays below whatever comes until it is submitted, for it is written only then. */
  float(): void {
    for (const entry of this.list) if (entry.state === "sending") this.floating.add(entry.clientMsgId);
  }

  /** An own message was submitted: it stays where it stands. */
  pin(clientMsgId: string): void {
    this.floating.delete(clientMsgId);
  }

  /** Shows a message of one's own at once. */
  echo(clientMsgId: string, text: string, nowMs: number): void {
    const entry: Entry = {
      key: `own-${clientMsgId}`,
      seq: 0,
      state: "sending",
      mine: true,
      clientMsgId,
      senderId: this.me(),
      senderName: "",
      sentAtMs: nowMs,
      recalledBySeq: 0,
      content: { kind: "text", text },
      refusal: null,
      retryAtMs: 0,
    };
    this.echoes.set(clientMsgId, entry);
    this.list = [...this.list, entry];
  }

  /** An own message is durable; returns whether the echo was still waiting. */
  acknowledge(clientMsgId: string, seq: number, sentAtMs: number): boolean {
    const echo = this.echoes.get(clientMsgId);
    if (echo === undefined || echo.state === "sent") return false;
    const known = this.bySeq.get(seq);
    if (known !== undefined && known !== echo) this.list = this.list.filter((entry) => entry !== known);
    this.swap(echo, { ...echo, seq, sentAtMs: sentAtMs || echo.sentAtMs, state: "sent", refusal: null, retryAtMs: 0 });
    return true;
  }

  /** An own message was refused, or nobody answered. */
  fail(clientMsgId: string, refusal: Refusal, nowMs: number): void {
    const echo = this.echoes.get(clientMsgId);
    this.floating.delete(clientMsgId);
    const retryAtMs = refusal.retryAfterMs > 0 ? nowMs + refusal.retryAfterMs : 0;
    if (echo?.state === "sending") this.swap(echo, { ...echo, state: "failed", refusal, retryAtMs });
  }

  /** A failed message is tried again: it moves to the end, where it is written now. */
  revive(clientMsgId: string, nowMs: number): string | null {
    const echo = this.echoes.get(clientMsgId);
    if (echo?.state !== "failed" || echo.content.kind !== "text") return null;
    const again: Entry = { ...echo, state: "sending", sentAtMs: nowMs, refusal: null, retryAtMs: 0 };
    this.echoes.set(clientMsgId, again);
    this.list = [...this.list.filter((entry) => entry !== echo), again];
    return echo.content.text;
  }

  /** Takes a failed message away. */
  discard(clientMsgId: string): void {
    const echo = this.echoes.get(clientMsgId);
    if (echo?.state !== "failed") return;
    this.echoes.delete(clientMsgId);
    this.list = this.list.filter((entry) => entry !== echo);
  }

  /** Blanks a message that was taken back. */
  recall(targetSeq: number, bySeq: number): void {
    const target = this.bySeq.get(targetSeq);
    if (target === undefined || target.recalledBySeq !== 0) return;
    this.swap(target, { ...target, content: NOTHING, recalledBySeq: bySeq });
  }

  /** Hides messages that the user deleted for themself. */
  hide(seqs: readonly number[]): void {
    for (const seq of seqs) this.hidden.add(seq);
    if (this.list.some((entry) => this.isHidden(entry))) this.list = this.list.filter((entry) => !this.isHidden(entry));
  }

  /** Drops the oldest rows when there are too many; `following`: the reader is at the newest. */
  trim(options: { readonly following: boolean }): void {
    if (this.list.length <= (options.following ? MAX_ENTRIES : HARD_MAX_ENTRIES)) return;
    const dropped = this.list.slice(0, -TRIM_TO);
    const kept = this.list.slice(-TRIM_TO);
    const unsent = dropped.filter((entry) => entry.state === "sending" || entry.state === "failed");
    for (const entry of dropped) {
      this.bySeq.delete(entry.seq);
      if (!unsent.includes(entry)) this.echoes.delete(entry.clientMsgId);
    }
    // An own message may stand after others of higher seqs, so the floor is the least seq from which nothing was dropped.
    const highestDropped = dropped.reduce((most, entry) => Math.max(most, entry.seq), 0);
    this.list = [...unsent, ...kept.filter((entry) => entry.seq === 0 || entry.seq > highestDropped || this.forget(entry))];
    this.oldest = Math.max(this.oldest, highestDropped + 1);
  }

  private forget(entry: Entry): boolean {
    this.bySeq.delete(entry.seq);
    this.echoes.delete(entry.clientMsgId);
    return false;
  }

  private sink(): void {
    if (this.floating.size === 0) return;
    const floats = (entry: Entry) => entry.seq === 0 && this.floating.has(entry.clientMsgId);
    this.list = [...this.list.filter((entry) => !floats(entry)), ...this.list.filter(floats)];
  }

  private isHidden(entry: Entry): boolean {
    return entry.seq !== 0 && this.hidden.has(entry.seq);
  }

  /** Adds a message at the end of `list`, or gives its echo the seq where it stands. */
  private place(message: Message): void {
    if (message.content.kind === "recall") this.recall(message.content.targetSeq, message.seq);
    const row = this.entryOf(message);
    const echo = row.mine ? this.echoes.get(row.clientMsgId) : undefined;
    if (echo !== undefined && (echo.seq === 0 || echo.seq === row.seq)) {
      const blanked = echo.recalledBySeq !== 0 && row.recalledBySeq === 0;
      const { content, recalledBySeq } = blanked ? echo : row;
      this.swap(echo, { ...row, key: echo.key, content, recalledBySeq });
      return;
    }
    this.remember(row);
    if (!this.hidden.has(row.seq)) this.list.push(row);
  }

  private remember(row: Entry): void {
    this.bySeq.set(row.seq, row);
    if (row.mine && row.clientMsgId !== "") this.echoes.set(row.clientMsgId, row);
  }

  private swap(before: Entry, after: Entry): void {
    const place = this.list.lastIndexOf(before);
    if (place >= 0) {
      this.list = [...this.list];
      this.list[place] = after;
    }
    if (after.seq !== 0) this.bySeq.set(after.seq, after);
    if (after.mine) this.echoes.set(after.clientMsgId, after);
    if (this.isHidden(after)) this.list = this.list.filter((entry) => entry !== after);
  }

  private entryOf(message: Message): Entry {
    const mine = message.senderId !== "" && message.senderId === this.me();
    return {
      key: `seq-${message.seq}`,
      seq: message.seq,
      state: mine ? "sent" : "received",
      mine,
      clientMsgId: message.clientMsgId,
      senderId: message.senderId,
      senderName: message.senderName,
      sentAtMs: message.sentAtMs,
      recalledBySeq: message.recalledBySeq,
      content: message.recalledBySeq === 0 ? message.content : NOTHING,
      refusal: null,
      retryAtMs: 0,
    };
  }
}

/** Counts as unread: everything of others but recall events and what was recalled (as unread_svc counts, I7). */
export function countsAsUnread(entry: Entry): boolean {
  return !entry.mine && entry.recalledBySeq === 0 && entry.content.kind !== "recall";
}
