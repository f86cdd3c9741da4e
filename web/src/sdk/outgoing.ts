/** Outgoing queue: what was written and has no answer yet, kept over reconnects, sent again with the same ids (I2, I4). */

import type { Environment, TimerId } from "./environment";
import { localRefusal } from "./requests";
import { ErrorCode, type Refusal } from "./types";

export interface OutgoingHandlers {
  /** Tells whether the group is entered on this connection. */
  ready(groupId: string): boolean;
  /** Least time between two messages of this user, milliseconds. */
  intervalMs(groupId: string): number;
  /** Returns whether the connection took the frame. */
  transmit(item: Outgoing): boolean;
  onFailed(item: Outgoing, refusal: Refusal): void;
}

export interface Outgoing {
  readonly groupId: string;
  readonly clientMsgId: string;
  readonly text: string;
}

interface Item extends Outgoing {
  attempts: number;
  inFlight: boolean;
  /** Could not go out when it was written: it is paced, so that a reconnect does not run into the user's own limit. */
  waited: boolean;
  /** Not to be sent before this time. */
  notBeforeMs: number;
  deadline: TimerId;
}

/** More than these at a time are refused: the page keeps the text in the composer. */
export const MAX_OUTGOING = 100;
const ANSWER_TIMEOUT_MS = 20_000;
const MAX_ATTEMPTS = 4;
const MAX_PACING_MS = 3_000;
/** Arrival times jitter, and a message that comes a moment early is refused. */
const PACING_MARGIN_MS = 80;
/** The same request may succeed by itself a moment later; all else waits for the user. */
const AUTOMATIC = new Set<ErrorCode>([
  ErrorCode.UNAVAILABLE,
  ErrorCode.DEADLINE_EXCEEDED,
  ErrorCode.INTERNAL,
  ErrorCode.NOT_ENTERED,
]);

export class OutgoingQueue {
  private readonly items: Item[] = [];
  private readonly sentAtMs = new Map<string, number>();
  private timer: TimerId = null;

  constructor(
    private readonly environment: Environment,
    private readonly handlers: OutgoingHandlers,
  ) {}

  get length(): number {
    return this.items.length;
  }

  get full(): boolean {
    return this.items.length >= MAX_OUTGOING;
  }

  /** Returns false when the queue is full. */
  add(item: Outgoing): boolean {
    if (this.full) return false;
    this.items.push({ ...item, attempts: 0, inFlight: false, waited: false, notBeforeMs: 0, deadline: null });
    this.pump();
    for (const waiting of this.items) if (!waiting.inFlight) waiting.waited = true;
    return true;
  }

  /** Sends what may be sent now: in order within each group, at the pace that the group allows. */
  pump(): void {
    this.environment.clearTimer(this.timer);
    this.timer = null;
    const now = this.environment.now();
    let wakeMs = Number.POSITIVE_INFINITY;
    const heldBack = new Set<string>();
    for (const item of [...this.items]) {
      if (item.inFlight || heldBack.has(item.groupId)) continue;
      if (!this.handlers.ready(item.groupId)) {
        heldBack.add(item.groupId);
        continue;
      }
      const waitMs = Math.max(item.notBeforeMs - now, item.waited ? this.pacingMs(item.groupId, now) : 0);
      if (waitMs > 0) {
        heldBack.add(item.groupId);
        wakeMs = Math.min(wakeMs, waitMs);
      } else if (!this.transmit(item, now)) {
        heldBack.add(item.groupId);
        wakeMs = Math.min(wakeMs, 1_000);
      }
    }
    if (wakeMs !== Number.POSITIVE_INFINITY) this.timer = this.environment.setTimer(() => this.pump(), wakeMs);
  }

  /** Durable: nothing more to do. */
  acknowledge(clientMsgId: string): void {
    this.remove(clientMsgId);
    this.pump();
  }

  /** Refused: tried again a few times where that helps by itself, otherwise failed. */
  reject(clientMsgId: string, refusal: Refusal): void {
    const item = this.items.find((candidate) => candidate.clientMsgId === clientMsgId);
    if (item === undefined) return;
    this.environment.clearTimer(item.deadline);
    item.inFlight = false;
    if (!AUTOMATIC.has(refusal.code) || item.attempts >= MAX_ATTEMPTS) {
      this.remove(clientMsgId);
      this.handlers.onFailed(item, refusal);
    } else {
      const backoffMs = 500 * 2 ** item.attempts * (0.5 + this.environment.random());
      item.notBeforeMs = this.environment.now() + Math.max(refusal.retryAfterMs, backoffMs);
    }
    this.pump();
  }

  /** The connection is gone: whether what was under way is stored is not known, so it waits to be sent again. */
  onOffline(): void {
    this.environment.clearTimer(this.timer);
    this.timer = null;
    for (const item of this.items) {
      this.environment.clearTimer(item.deadline);
      item.inFlight = false;
      item.waited = true;
      item.attempts = 0;
      item.notBeforeMs = 0;
    }
  }

  /** Gives up on everything (of one group), for there will be no connection or membership any more. */
  failAll(refusal: Refusal, groupId?: string): void {
    for (const item of [...this.items]) {
      if (groupId !== undefined && item.groupId !== groupId) continue;
      this.environment.clearTimer(item.deadline);
      this.remove(item.clientMsgId);
      this.handlers.onFailed(item, refusal);
    }
  }

  private pacingMs(groupId: string, now: number): number {
    const interval = this.handlers.intervalMs(groupId);
    if (interval === 0) return 0;
    const waitMs = (this.sentAtMs.get(groupId) ?? Number.NEGATIVE_INFINITY) + interval + PACING_MARGIN_MS - now;
    // In slow mode the server says how long it takes, and the user decides: nothing hangs as "sending" for a minute.
    return interval > MAX_PACING_MS ? 0 : Math.max(0, waitMs);
  }

  private transmit(item: Item, now: number): boolean {
    if (!this.handlers.transmit(item)) return false;
    item.attempts += 1;
    item.inFlight = true;
    this.sentAtMs.set(item.groupId, now);
    item.deadline = this.environment.setTimer(
      () => this.reject(item.clientMsgId, localRefusal(ErrorCode.DEADLINE_EXCEEDED, "no answer in time")),
      ANSWER_TIMEOUT_MS,
    );
    return true;
  }

  private remove(clientMsgId: string): void {
    const place = this.items.findIndex((item) => item.clientMsgId === clientMsgId);
    if (place < 0) return;
    this.environment.clearTimer(this.items[place]?.deadline ?? null);
    this.items.splice(place, 1);
  }
}
