/** Closes the gaps of one group: one pull at a time, and the newest page afresh where pulling cannot help (hop 8). */

import type { Backoff } from "./backoff";
import type { Environment, TimerId } from "./environment";
import type { Gap } from "./reminder_queue";
import type { Requests } from "./requests";
import { ErrorCode, type Pulled, type Refusal } from "./types";

/** The group whose gaps are closed. */
export interface GappedGroup {
  readonly groupId: string;
  /** The epoch in which pulls are allowed now; 0: none are. */
  readonly pullableEpoch: number;
  /** The first hole in what is held; null: nothing is missing. */
  readonly gap: Gap | null;
  readonly ready: boolean;
  /** Nothing is missing. */
  onWhole(): void;
  /** Takes a page over; returns whether it brought what has its turn, null when it is of another time. */
  take(pulled: Pulled): boolean | null;
  enter(): void;
  /** Drops what is held, so that the newest page comes. */
  enterAfresh(): void;
}

/** A gap larger than this is not worth pulling on a phone: the newest page is taken, the rest is history. */
const MAX_GAP = 1_000;
const MAX_FRUITLESS = 3;
const ANSWER_TIMEOUT_MS = 10_000;
const AGAIN_AFTER_MS = 200;

export class GapPuller {
  private pulling = false;
  private fruitless = 0;
  private timer: TimerId = null;

  constructor(
    private readonly group: GappedGroup,
    private readonly environment: Environment,
    private readonly requests: Requests,
    private readonly backoff: Backoff,
  ) {}

  /** A pull is to begin later. */
  get waits(): boolean {
    return this.timer !== null;
  }

  /** Pulls the first gap, if there is one and no pull is under way. */
  pump(): void {
    const epoch = this.group.pullableEpoch;
    if (epoch === 0 || this.pulling) return;
    this.stopTimer();
    const { groupId, gap } = this.group;
    if (gap === null) {
      this.group.onWhole();
      return;
    }
    if (gap.upToSeq - gap.afterSeq > MAX_GAP || this.fruitless >= MAX_FRUITLESS) {
      this.fruitless = 0;
      this.group.enterAfresh();
      return;
    }
    this.pulling = true;
    this.requests.call({ kind: "pull", groupId, epoch, ...gap }, ANSWER_TIMEOUT_MS, (outcome) => {
      this.pulling = false;
      if ("refusal" in outcome) this.onRefused(outcome.refusal);
      else if (outcome.event.kind === "pulled") this.onPulled(outcome.event.pulled);
    });
  }

  pumpLater(delayMs: number): void {
    this.environment.clearTimer(this.timer);
    this.timer = this.environment.setTimer(() => {
      this.timer = null;
      this.pump();
    }, delayMs);
  }

  /** Nothing is to begin by itself any more. */
  stopTimer(): void {
    this.environment.clearTimer(this.timer);
    this.timer = null;
  }

  /** What was asked will not be answered any more, or not in this epoch. */
  forgetPull(): void {
    this.pulling = false;
  }

  /** What is held is new: pulls before it say nothing. */
  startAfresh(): void {
    this.fruitless = 0;
  }

  private onPulled(pulled: Pulled): void {
    const brought = this.group.take(pulled);
    if (brought === null) return;
    if (brought) {
      this.backoff.reset();
      this.fruitless = 0;
      this.pump();
      return;
    }
    const gap = this.group.gap;
    if (gap === null) return;
    // A history that begins above the gap cannot close it, however often it is asked for.
    const first = pulled.messages[0];
    if (first !== undefined && first.seq > gap.afterSeq + 1) this.fruitless += 1;
    this.pumpLater(AGAIN_AFTER_MS + this.backoff.next());
  }

  private onRefused(refusal: Refusal): void {
    if (!this.group.ready) return;
    if (refusal.code === ErrorCode.EPOCH_MISMATCH) this.group.enterAfresh();
    else if (refusal.code === ErrorCode.NOT_ENTERED) this.group.enter();
    else this.pumpLater(Math.max(refusal.retryAfterMs, AGAIN_AFTER_MS + this.backoff.next()));
  }
}
