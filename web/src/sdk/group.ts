/** One group on this client: takes blocks, notices and pulled pages, and says what is to be shown (hops 7 and 8). */

import { Backoff } from "./backoff";
import type { Environment, TimerId } from "./environment";
import { GapPuller, type GappedGroup } from "./gap_puller";
import type { GroupPhase, GroupView } from "./group_view";
import { MessageQueue } from "./message_queue";
import { ReadReporter, type ReadGroup } from "./read_reporter";
import { ReminderQueue, type Gap } from "./reminder_queue";
import type { Requests } from "./requests";
import { SendPace, sendIntervalMs, withReason } from "./send_pace";
import { Store } from "./store";
import { Delivery, ErrorCode, Role, type Block, type Entered, type GroupInfo, type Message, type Pulled, type Refusal } from "./types";
import { UnreadCounter } from "./unread_counter";

export interface GroupDependencies {
  readonly environment: Environment;
  readonly requests: Requests;
  readonly me: () => string;
  /** Called when own messages turned out to be stored without an ACK having come. */
  readonly onStored: (clientMsgIds: readonly string[]) => void;
  /** Called each time the group became ready on a connection. */
  readonly onReady: () => void;
  /** The page is hidden: it counts what it hears of, and pulls nothing. */
  readonly hidden: () => boolean;
}

const ANSWER_TIMEOUT_MS = 10_000;
const HISTORY_PAGE = 50;
/** After an ACK the block follows by itself; only when it does not, it is pulled. */
const ACK_GRACE_MS = 2_500;
const BACKGROUND_PULL_SPREAD_MS = 1_500;
/** Codes after which asking again cannot help. */
const FINAL = new Set<ErrorCode>([
  ErrorCode.NOT_A_MEMBER,
  ErrorCode.GROUP_NOT_FOUND,
  ErrorCode.PERMISSION_DENIED,
  ErrorCode.INVALID_ARGUMENT,
]);

export class GroupSession implements GappedGroup, ReadGroup {
  readonly view: Store<GroupView>;
  private readonly messages: MessageQueue;
  private readonly reminders = new ReminderQueue();
  private readonly counter = new UnreadCounter();
  private readonly pace = new SendPace();
  private readonly backoff: Backoff;
  private readonly puller: GapPuller;
  private readonly reporter: ReadReporter;
  private phase: GroupPhase = "idle";
  private refusal: Refusal | null = null;
  private info: GroupInfo | null = null;
  private role: Role = Role.UNSPECIFIED;
  private online: number | null = null;
  /** Epoch of what is held; 0: the newest page is asked for. */
  private epoch = 0;
  private lastEpoch = 0;
  /** Shown when the group is entered again, so that the edge need not look the membership up. */
  private resumeToken = "";
  private asked: Delivery = Delivery.UNSPECIFIED;
  private loadingOlder = false;
  private historyEnded = false;
  private foreground = false;
  private following = true;
  /** The page is hidden, or was and has not caught up yet. */
  private behind = false;
  private enterTimer: TimerId = null;

  constructor(
    readonly groupId: string,
    private readonly dependencies: GroupDependencies,
  ) {
    const { environment, requests } = dependencies;
    this.messages = new MessageQueue(dependencies.me);
    this.backoff = new Backoff(() => environment.random(), 500, 15_000);
    this.puller = new GapPuller(this, environment, requests, this.backoff);
    this.reporter = new ReadReporter(this, environment, requests);
    this.view = new Store(this.snapshot());
  }

  /** An epoch and a seq are held, so coming back needs an `enter` that names them. */
  get holdsHistory(): boolean {
    return this.epoch !== 0;
  }

  get ready(): boolean {
    return this.phase === "ready";
  }

  get readSeq(): number {
    return this.counter.readSeq;
  }

  get gap(): Gap | null {
    return this.reminders.gap(this.messages.heldSeq);
  }

  /** A hidden page pulls when it is shown. */
  get pullableEpoch(): number {
    return this.phase !== "ready" || this.dependencies.hidden() ? 0 : this.epoch;
  }

  get sendIntervalMs(): number {
    return sendIntervalMs(this.info, this.role);
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
    this.puller.forgetPull();
    this.phase = "entering";
    this.publish();
    if (!options.named) this.enter();
    else {
      this.asked = Delivery.INLINE;
      this.enterLater(ANSWER_TIMEOUT_MS);
    }
  }

  onOffline(): void {
    this.stopTimers();
    this.puller.forgetPull();
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
    this.resumeToken = entered.resumeToken;
    this.online = entered.online ?? this.online;
    this.refusal = null;
    this.phase = "ready";
    this.puller.startAfresh();
    this.backoff.reset();
    this.reminders.announce(group.headSeq);
    this.absorb();
    if (entered.unread !== null) {
      this.counter.setBase(entered.unread, Math.max(this.messages.heldSeq, group.headSeq));
      this.reporter.onKnown(entered.unread.readSeq);
    }
    this.publish();
    this.dependencies.onReady();
    if (this.asked !== this.wanted) this.enter();
    this.puller.pump();
  }

  onBlock(block: Block): void {
    if (this.epoch === 0) this.reminders.startEpoch(block.epoch);
    else if (!this.sameEpoch(block.epoch)) return;
    for (const message of block.messages) this.reminders.keep(message);
    if (this.epoch === 0) return;
    if (this.absorb()) this.publish();
    this.puller.pump();
  }

  onNotice(epoch: number, headSeq: number): void {
    if (!this.sameEpoch(epoch)) return;
    this.reminders.announce(headSeq);
    if (this.dependencies.hidden()) this.publish();
    else if (this.foreground) this.puller.pump();
    else this.puller.pumpLater(this.dependencies.environment.random() * BACKGROUND_PULL_SPREAD_MS);
  }

  onRemoved(): void {
    this.stopTimers();
    this.phase = "removed";
    this.resumeToken = "";
    this.startEpoch(0);
    this.messages.replace([], 0);
    this.publish();
  }

  onResumeToken(token: string): void {
    this.resumeToken = token;
  }

  onOnlineCount(count: number): void {
    this.online = count;
    this.publish();
  }

  /** The page was hidden or is shown again, when everything missed is pulled: of groups in the background within a moment. */
  onVisibility(): void {
    if (this.dependencies.hidden()) this.behind = true;
    else if (this.foreground) this.puller.pump();
    else this.puller.pumpLater(this.dependencies.environment.random() * BACKGROUND_PULL_SPREAD_MS);
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
    this.pace.onSubmitted(clientMsgId, this.dependencies.environment.now());
    this.publish();
  }

  onAck(clientMsgId: string, epoch: number, seq: number, sentAtMs: number): void {
    if (this.epoch !== 0 && epoch !== this.epoch) {
      this.enterAfresh();
      return;
    }
    if (this.messages.acknowledge(clientMsgId, seq, sentAtMs)) this.publish();
    this.reminders.announce(seq);
    if (this.gap !== null && !this.puller.waits) this.puller.pumpLater(ACK_GRACE_MS);
  }

  onSendFailed(clientMsgId: string, refusal: Refusal): void {
    const now = this.dependencies.environment.now();
    this.pace.onRefused(clientMsgId, refusal, now);
    this.messages.fail(clientMsgId, withReason(refusal, this.info, this.sendIntervalMs), now);
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

  /** Takes a pulled page over; what is asked of a `GappedGroup`. */
  take(pulled: Pulled): boolean | null {
    if (this.phase !== "ready" || !this.sameEpoch(pulled.epoch)) return null;
    for (const message of pulled.messages) this.reminders.keep(message);
    this.reminders.announce(pulled.headSeq);
    const brought = this.absorb();
    if (brought) this.publish();
    return brought;
  }

  onWhole(): void {
    if (!this.behind) return;
    this.behind = false;
    this.publish();
  }

  /** Whether the reader stands at the newest message; only then old rows may be dropped from memory. */
  setFollowing(following: boolean): void {
    this.following = following;
  }

  /** The user has seen everything up to `seq`. */
  markRead(seq: number): void {
    if (!this.counter.markRead(Math.min(seq, this.messages.heldSeq))) return;
    this.publish();
    this.reporter.reportLater();
  }

  /** Reports at once how far the user has read, for a page that is about to go. */
  flushRead(): void {
    this.reporter.report();
  }

  /** Enters, or asks for the other delivery. */
  enter(): void {
    this.phase = this.phase === "ready" ? "ready" : "entering";
    const delivery = this.wanted;
    this.asked = delivery;
    const seq = this.epoch === 0 ? 0 : this.messages.heldSeq;
    const { groupId, epoch, resumeToken } = this;
    const request = { kind: "enter", groupId, epoch, seq, delivery, resumeToken } as const;
    this.dependencies.requests.call(request, ANSWER_TIMEOUT_MS, (outcome) => {
      if ("refusal" in outcome) this.entryRefused(outcome.refusal);
      else if (outcome.event.kind === "entered") this.onEntered(outcome.event.entered);
    });
  }

  /** Drops the position, so that the newest page comes. */
  enterAfresh(): void {
    this.puller.forgetPull();
    this.startEpoch(0);
    this.enter();
  }

  private entryRefused(refusal: Refusal): void {
    this.refusal = refusal;
    if (refusal.code === ErrorCode.EPOCH_MISMATCH && this.epoch !== 0) {
      this.enterAfresh();
      return;
    }
    if (FINAL.has(refusal.code)) this.phase = "refused";
    else this.enterLater(Math.max(refusal.retryAfterMs, 500 + this.backoff.next()));
    this.puller.stopTimer();
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

  private enterLater(delayMs: number): void {
    const { environment } = this.dependencies;
    environment.clearTimer(this.enterTimer);
    this.enterTimer = environment.setTimer(() => this.enter(), delayMs);
  }

  private stopTimers(): void {
    this.puller.stopTimer();
    this.reporter.stopTimer();
    this.dependencies.environment.clearTimer(this.enterTimer);
    this.enterTimer = null;
  }

  private publish(): void {
    this.view.set(this.snapshot());
  }

  private snapshot(): GroupView {
    const { heldSeq, floorSeq, entries } = this.messages;
    const headSeq = Math.max(this.reminders.head, heldSeq);
    this.pace.setInterval(this.sendIntervalMs);
    return {
      groupId: this.groupId,
      phase: this.phase,
      refusal: this.refusal,
      info: this.info,
      role: this.role,
      entries,
      heldSeq,
      headSeq,
      hasOlder: this.epoch !== 0 && floorSeq > 1 && !this.historyEnded,
      loadingOlder: this.loadingOlder,
      unread: this.counter.count(entries, floorSeq, heldSeq, this.behind && this.epoch !== 0 ? headSeq : heldSeq),
      online: this.online,
      sendableAtMs: this.pace.sendableAtMs,
    };
  }
}
