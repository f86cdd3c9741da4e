/** One group on this client: takes blocks, notices and pulled pages, closes gaps, and says what is to be shown (hops 7 and 8). */

import { Backoff } from "./backoff";
import type { Environment, TimerId } from "./environment";
import { MessageQueue, type Entry } from "./message_queue";
import { ReminderQueue } from "./reminder_queue";
import type { Requests } from "./requests";
import { Store } from "./store";
import { Delivery, ErrorCode, Role, type Block, type Entered, type GroupInfo, type Message, type Pulled, type Refusal, type Unread } from "./types";
import { UnreadCounter } from "./unread_counter";

/** `entering`: asked, not answered on this connection; `ready`: live; `refused`: not allowed; `removed`: no member any more. */
export type GroupPhase = "idle" | "entering" | "ready" | "refused" | "removed";

/** What a page shows of a group; a new object on every change. */
export interface GroupView {
  readonly groupId: string;
  readonly phase: GroupPhase;
  readonly refusal: Refusal | null;
  readonly info: GroupInfo | null;
  readonly role: Role;
  readonly entries: readonly Entry[];
  readonly heldSeq: number;
  readonly headSeq: number;
  readonly hasOlder: boolean;
  readonly loadingOlder: boolean;
  readonly unread: Unread;
  /** Connections in the group; null: not told. */
  readonly online: number | null;
}

export interface GroupDependencies {
  readonly environment: Environment;
  readonly requests: Requests;
  readonly me: () => string;
  /** Called when own messages turned out to be stored without an ACK having come. */
  readonly onStored: (clientMsgIds: readonly string[]) => void;
  /** Called each time the group became ready on a connection. */
  readonly onReady: () => void;
}

const ANSWER_TIMEOUT_MS = 10_000;
/** A gap larger than this is not worth pulling on a phone: the newest page is taken, the rest is history. */
const MAX_GAP = 1_000;
const HISTORY_PAGE = 50;
/** After an ACK the block follows by itself; only when it does not, it is pulled. */
const ACK_GRACE_MS = 2_500;
const BACKGROUND_PULL_SPREAD_MS = 1_500;
const REPORT_READ_AFTER_MS = 800;
/** Codes after which asking again cannot help. */
const FINAL = new Set<ErrorCode>([
  ErrorCode.NOT_A_MEMBER,
  ErrorCode.GROUP_NOT_FOUND,
  ErrorCode.PERMISSION_DENIED,
  ErrorCode.INVALID_ARGUMENT,
]);

export class GroupSession {
  readonly view: Store<GroupView>;
  private readonly messages: MessageQueue;
  private readonly reminders = new ReminderQueue();
  private readonly counter = new UnreadCounter();
  private readonly backoff: Backoff;
  private phase: GroupPhase = "idle";
  private refusal: Refusal | null = null;
  private info: GroupInfo | null = null;
  private role: Role = Role.UNSPECIFIED;
  private online: number | null = null;
  /** Epoch of what is held; 0: the newest page is asked for. */
  private epoch = 0;
  private lastEpoch = 0;
  private asked: Delivery = Delivery.UNSPECIFIED;
  private fruitless = 0;
  private pulling = false;
  private loadingOlder = false;
  private historyEnded = false;
  private foreground = false;
  private following = true;
  private reportedSeq = 0;
  private pullTimer: TimerId = null;
  private enterTimer: TimerId = null;
  private readTimer: TimerId = null;

  constructor(
    readonly groupId: string,
    private readonly dependencies: GroupDependencies,
  ) {
    this.messages = new MessageQueue(dependencies.me);
    this.backoff = new Backoff(() => dependencies.environment.random(), 500, 15_000);
    this.view = new Store(this.snapshot());
  }

  /** An epoch and a seq are held, so coming back needs an `enter` that names them. */
  get holdsHistory(): boolean {
    return this.epoch !== 0;
  }

  get ready(): boolean {
    return this.phase === "ready";
  }

  get sendIntervalMs(): number {
    return this.info?.sendIntervalMs ?? 0;
  }

  private get wanted(): Delivery {
    return this.foreground ? Delivery.INLINE : Delivery.NOTIFY;
  }

  /** The open group gets whole blocks, the others only notices. */
  setForeground(foreground: boolean): void {
    if (this.foreground === foreground) return;
    this.foreground = foreground;
    if (this.phase === "ready" || this.phase === "refused") this.enter();
  }

  /** A connection is up. `named`: the group stood in its address, so `entered` comes unasked. */
  onOnline(options: { readonly named: boolean }): void {
    this.pulling = false;
    this.phase = "entering";
    this.publish();
    if (!options.named) this.enter();
    else {
      this.asked = Delivery.INLINE;
      this.enterTimer = this.later(this.enterTimer, ANSWER_TIMEOUT_MS, () => this.enter());
    }
  }

  onOffline(): void {
    this.stopTimers();
    this.pulling = false;
    this.loadingOlder = false;
    if (this.phase === "ready") this.phase = "entering";
    this.messages.float();
    this.publish();
  }

  /** Nothing more is wanted of the group here. */
  close(): void {
    this.flushRead();
    this.stopTimers();
    this.phase = "idle";
  }

  onEntered(entered: Entered): void {
    const { environment } = this.dependencies;
    environment.clearTimer(this.enterTimer);
    const { group, messages } = entered;
    const first = messages[0];
    const otherEpoch = group.epoch !== this.epoch;
    if (otherEpoch) this.startEpoch(group.epoch);
    if (entered.reset || (this.lastEpoch !== 0 && this.lastEpoch !== group.epoch)) {
      this.counter.clear();
      this.messages.forgetHidden();
    }
    this.messages.hide(entered.deletedSeqs);
    if (otherEpoch || entered.reset || (first !== undefined && first.seq > this.messages.heldSeq + 1)) {
      this.messages.replace(messages, group.headSeq);
      this.historyEnded = false;
      this.noteStored(messages);
    } else {
      for (const message of messages) this.reminders.keep(message);
    }
    this.lastEpoch = group.epoch;
    this.info = group;
    this.role = entered.role;
    this.refusal = null;
    this.phase = "ready";
    this.fruitless = 0;
    this.backoff.reset();
    this.reminders.announce(group.headSeq);
    this.absorb();
    if (entered.unread !== null) {
      this.counter.setBase(entered.unread, Math.max(this.messages.heldSeq, group.headSeq));
      this.reportedSeq = entered.unread.readSeq;
      if (this.counter.readSeq > this.reportedSeq) this.reportReadLater();
    }
    this.publish();
    this.dependencies.onReady();
    if (this.asked !== this.wanted) this.enter();
    this.pump();
  }

  onBlock(block: Block): void {
    if (this.epoch === 0) this.reminders.startEpoch(block.epoch);
    else if (!this.sameEpoch(block.epoch)) return;
    for (const message of block.messages) this.reminders.keep(message);
    if (this.epoch === 0) return;
    if (this.absorb()) this.publish();
    this.pump();
  }

  onNotice(epoch: number, headSeq: number): void {
    if (!this.sameEpoch(epoch)) return;
    this.reminders.announce(headSeq);
    if (this.foreground) this.pump();
    else this.pumpLater(this.dependencies.environment.random() * BACKGROUND_PULL_SPREAD_MS);
  }

  onRemoved(): void {
    this.stopTimers();
    this.phase = "removed";
    this.startEpoch(0);
    this.messages.replace([], 0);
    this.publish();
  }

  onOnlineCount(count: number): void {
    this.online = count;
    this.publish();
  }

  onChanged(info: GroupInfo): void {
    this.info = info;
    this.publish();
  }

  onDeletedForMe(seqs: readonly number[]): void {
    this.messages.hide(seqs);
    this.publish();
  }

  onFailure(refusal: Refusal): void {
    if (refusal.code === ErrorCode.NOT_ENTERED && this.phase === "ready") this.enter();
    else if (refusal.code === ErrorCode.EPOCH_MISMATCH) this.enterAfresh();
    else if (this.phase === "entering") this.entryRefused(refusal);
  }

  /** Shows an own message at once. */
  echo(clientMsgId: string, text: string): void {
    this.messages.echo(clientMsgId, text, this.dependencies.environment.now());
    if (!this.ready) this.messages.float();
    this.publish();
  }

  /** An own message went out on this connection. */
  onSubmitted(clientMsgId: string): void {
    this.messages.pin(clientMsgId);
  }

  onAck(clientMsgId: string, epoch: number, seq: number, sentAtMs: number): void {
    if (this.epoch !== 0 && epoch !== this.epoch) {
      this.enterAfresh();
      return;
    }
    if (this.messages.acknowledge(clientMsgId, seq, sentAtMs)) this.publish();
    this.reminders.announce(seq);
    if (this.reminders.gap(this.messages.heldSeq) !== null && this.pullTimer === null) this.pumpLater(ACK_GRACE_MS);
  }

  onSendFailed(clientMsgId: string, refusal: Refusal): void {
    this.messages.fail(clientMsgId, refusal);
    this.publish();
  }

  /** Makes a failed message a sending one again; null: there is no such. */
  revive(clientMsgId: string): string | null {
    const text = this.messages.revive(clientMsgId, this.dependencies.environment.now());
    if (!this.ready) this.messages.float();
    this.publish();
    return text;
  }

  discard(clientMsgId: string): void {
    this.messages.discard(clientMsgId);
    this.publish();
  }

  /** Takes a message back; `done` with null when it is done. */
  recall(seq: number, done: (refusal: Refusal | null) => void): void {
    this.dependencies.requests.call({ kind: "recall", groupId: this.groupId, seq }, ANSWER_TIMEOUT_MS * 2, (outcome) => {
      if ("refusal" in outcome) {
        done(outcome.refusal);
        return;
      }
      if (outcome.event.kind === "ack") {
        this.messages.recall(seq, outcome.event.ack.seq);
        this.publish();
        this.onAck("", outcome.event.ack.epoch, outcome.event.ack.seq, 0);
      }
      done(null);
    });
  }

  deleteForMe(seq: number, done: (refusal: Refusal | null) => void): void {
    this.dependencies.requests.call({ kind: "delete_for_me", groupId: this.groupId, seq }, ANSWER_TIMEOUT_MS, (outcome) => {
      if ("refusal" in outcome) done(outcome.refusal);
      else {
        this.onDeletedForMe([seq]);
        done(null);
      }
    });
  }

  /** Loads a page of older messages. */
  loadOlder(): void {
    const beforeSeq = this.messages.floorSeq;
    if (this.loadingOlder || this.phase !== "ready" || beforeSeq <= 1 || this.historyEnded) return;
    this.loadingOlder = true;
    this.publish();
    const request = { kind: "history", groupId: this.groupId, beforeSeq, limit: HISTORY_PAGE } as const;
    this.dependencies.requests.call(request, ANSWER_TIMEOUT_MS, (outcome) => {
      this.loadingOlder = false;
      if ("event" in outcome && outcome.event.kind === "pulled" && outcome.event.pulled.epoch === this.epoch) {
        const { pulled } = outcome.event;
        this.messages.hide(pulled.deletedSeqs);
        if (!this.messages.prepend(pulled.messages) && pulled.messages.length === 0) this.historyEnded = true;
      }
      this.publish();
    });
  }

  /** Whether the reader stands at the newest message; only then old rows may be dropped from memory. */
  setFollowing(following: boolean): void {
    this.following = following;
  }

  /** The user has seen everything up to `seq`. */
  markRead(seq: number): void {
    if (!this.counter.markRead(Math.min(seq, this.messages.heldSeq))) return;
    this.publish();
    this.reportReadLater();
  }

  /** Reports at once how far the user has read, for a page that is about to go. */
  flushRead(): void {
    this.dependencies.environment.clearTimer(this.readTimer);
    this.readTimer = null;
    const readSeq = this.counter.readSeq;
    if (readSeq <= this.reportedSeq || this.phase !== "ready") return;
    this.reportedSeq = readSeq;
    this.dependencies.requests.tell({ kind: "report_read", groupId: this.groupId, readSeq });
  }

  private reportReadLater(): void {
    this.readTimer ??= this.dependencies.environment.setTimer(() => this.flushRead(), REPORT_READ_AFTER_MS);
  }

  private enter(): void {
    this.phase = this.phase === "ready" ? "ready" : "entering";
    const delivery = this.wanted;
    this.asked = delivery;
    const seq = this.epoch === 0 ? 0 : this.messages.heldSeq;
    const request = { kind: "enter", groupId: this.groupId, epoch: this.epoch, seq, delivery } as const;
    this.dependencies.requests.call(request, ANSWER_TIMEOUT_MS, (outcome) => {
      if ("refusal" in outcome) this.entryRefused(outcome.refusal);
      else if (outcome.event.kind === "entered") this.onEntered(outcome.event.entered);
    });
  }

  /** Drops the position, so that the newest page comes. */
  private enterAfresh(): void {
    this.pulling = false;
    this.startEpoch(0);
    this.enter();
  }

  private entryRefused(refusal: Refusal): void {
    const { environment } = this.dependencies;
    this.refusal = refusal;
    if (refusal.code === ErrorCode.EPOCH_MISMATCH && this.epoch !== 0) {
      this.enterAfresh();
      return;
    }
    if (FINAL.has(refusal.code)) this.phase = "refused";
    else this.enterTimer = this.later(this.enterTimer, Math.max(refusal.retryAfterMs, 500 + this.backoff.next()), () => this.enter());
    environment.clearTimer(this.pullTimer);
    this.publish();
  }

  private startEpoch(epoch: number): void {
    this.epoch = epoch;
    if (epoch === 0) return;
    this.reminders.startEpoch(epoch);
  }

  /** An older epoch is ignored; a newer one means that history was lost or restored. */
  private sameEpoch(epoch: number): boolean {
    if (this.epoch === 0) return false;
    if (epoch > this.epoch && this.phase === "ready") this.enterAfresh();
    return epoch === this.epoch;
  }

  /** Moves what has its turn from the reminder queue to the message queue; returns whether anything moved. */
  private absorb(): boolean {
    const ready = this.reminders.take(this.messages.heldSeq);
    if (ready.length === 0) return false;
    this.messages.append(ready);
    this.messages.trim({ following: this.following || !this.foreground });
    this.noteStored(ready);
    return true;
  }

  private noteStored(messages: readonly Message[]): void {
    const me = this.dependencies.me();
    this.dependencies.onStored(messages.filter((message) => message.senderId === me).map((message) => message.clientMsgId));
  }

  /** Pulls the first gap, if there is one and no pull is under way. */
  private pump(): void {
    if (this.phase !== "ready" || this.pulling || this.epoch === 0) return;
    this.dependencies.environment.clearTimer(this.pullTimer);
    this.pullTimer = null;
    const gap = this.reminders.gap(this.messages.heldSeq);
    if (gap === null) return;
    if (gap.upToSeq - gap.afterSeq > MAX_GAP || this.fruitless >= 3) {
      this.fruitless = 0;
      this.enterAfresh();
      return;
    }
    this.pulling = true;
    const request = { kind: "pull", groupId: this.groupId, epoch: this.epoch, ...gap } as const;
    this.dependencies.requests.call(request, ANSWER_TIMEOUT_MS, (outcome) => {
      this.pulling = false;
      if ("refusal" in outcome) this.pullRefused(outcome.refusal);
      else if (outcome.event.kind === "pulled") this.onPulled(outcome.event.pulled);
    });
  }

  private onPulled(pulled: Pulled): void {
    if (this.phase !== "ready" || !this.sameEpoch(pulled.epoch)) return;
    for (const message of pulled.messages) this.reminders.keep(message);
    this.reminders.announce(pulled.headSeq);
    const after = pulled.messages[0] === undefined ? this.messages.heldSeq : pulled.messages[0].seq - 1;
    if (this.absorb()) {
      this.backoff.reset();
      this.fruitless = 0;
      this.publish();
      this.pump();
      return;
    }
    // A history that begins above the gap cannot close it, however often it is asked for.
    if (after > this.messages.heldSeq) this.fruitless += 1;
    if (this.reminders.gap(this.messages.heldSeq) !== null) this.pumpLater(200 + this.backoff.next());
  }

  private pullRefused(refusal: Refusal): void {
    if (this.phase !== "ready") return;
    if (refusal.code === ErrorCode.EPOCH_MISMATCH) this.enterAfresh();
    else if (refusal.code === ErrorCode.NOT_ENTERED) this.enter();
    else this.pumpLater(Math.max(refusal.retryAfterMs, 200 + this.backoff.next()));
  }

  private pumpLater(delayMs: number): void {
    this.pullTimer = this.later(this.pullTimer, delayMs, () => {
      this.pullTimer = null;
      this.pump();
    });
  }

  private later(timer: TimerId, delayMs: number, run: () => void): TimerId {
    this.dependencies.environment.clearTimer(timer);
    return this.dependencies.environment.setTimer(run, delayMs);
  }

  private stopTimers(): void {
    for (const timer of [this.pullTimer, this.enterTimer, this.readTimer]) this.dependencies.environment.clearTimer(timer);
    this.pullTimer = this.enterTimer = this.readTimer = null;
  }

  private publish(): void {
    this.view.set(this.snapshot());
  }

  private snapshot(): GroupView {
    const { heldSeq, floorSeq, entries } = this.messages;
    return {
      groupId: this.groupId,
      phase: this.phase,
      refusal: this.refusal,
      info: this.info,
      role: this.role,
      entries,
      heldSeq,
      headSeq: Math.max(this.reminders.head, heldSeq),
      hasOlder: this.epoch !== 0 && floorSeq > 1 && !this.historyEnded,
      loadingOlder: this.loadingOlder,
      unread: this.counter.count(entries, floorSeq),
      online: this.online,
    };
  }
}
