/** When the user may write again in a group that is in slow mode, as far as this client knows; the server has the last word. */

import { ErrorCode, OverBudget, Role, type GroupInfo, type Refusal } from "./types";

/** A shorter interval is kept by the outgoing queue without a word; from here on the user sees the seconds. */
export const SLOW_MODE_FROM_MS = 3_000;
/** Slow mode does not slow owner and administrators. */
const MODERATOR_INTERVAL_MS = 1_000;

/** Least time between two messages of this user, milliseconds; 0: no limit. */
export function sendIntervalMs(info: GroupInfo | null, role: Role): number {
  const interval = info?.sendIntervalMs ?? 0;
  return role === Role.OWNER || role === Role.ADMINISTRATOR ? Math.min(interval, MODERATOR_INTERVAL_MS) : interval;
}

/** What a refusal means in this group: codes are the same for several reasons that people want to know apart. */
export function withReason(refusal: Refusal, info: GroupInfo | null, intervalMs: number): Refusal {
  if (refusal.code === ErrorCode.RATE_LIMITED && intervalMs >= SLOW_MODE_FROM_MS) return { ...refusal, reason: "slow_mode" };
  if (refusal.code === ErrorCode.GROUP_BUSY && info?.overBudget === OverBudget.SAMPLE) return { ...refusal, reason: "not_chosen" };
  return refusal;
}

export class SendPace {
  private submittedId = "";
  private submittedAtMs = Number.NEGATIVE_INFINITY;
  private beforeMs = Number.NEGATIVE_INFINITY;
  private refusedUntilMs = 0;
  private intervalMs = 0;

  /** The interval in force; a shorter one than before makes the server's last word obsolete. */
  setInterval(intervalMs: number): void {
    if (intervalMs < this.intervalMs) this.refusedUntilMs = 0;
    this.intervalMs = intervalMs;
  }

  /** A message went out; one that goes out again counts from the first time. */
  onSubmitted(clientMsgId: string, nowMs: number): void {
    if (clientMsgId === this.submittedId) return;
    this.beforeMs = this.submittedAtMs;
    this.submittedId = clientMsgId;
    this.submittedAtMs = nowMs;
  }

  /** A refused message uses up no interval. */
  onRefused(clientMsgId: string, refusal: Refusal, nowMs: number): void {
    if (refusal.code === ErrorCode.RATE_LIMITED) this.refusedUntilMs = nowMs + refusal.retryAfterMs;
    if (clientMsgId !== this.submittedId || refusal.code === ErrorCode.DEADLINE_EXCEEDED) return;
    this.submittedAtMs = this.beforeMs;
    this.submittedId = "";
  }

  /** Milliseconds since 1970; in the past or 0: now. */
  get sendableAtMs(): number {
    if (this.intervalMs < SLOW_MODE_FROM_MS) return 0;
    return Math.max(this.submittedAtMs + this.intervalMs, this.refusedUntilMs, 0);
  }
}
