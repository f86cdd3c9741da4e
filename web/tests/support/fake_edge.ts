/** An edge with everything behind it in a few lines of memory, for tests and for looking at the page; no limits, no safety. */

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ClientFrameSchema, ServerFrameSchema, type ClientFrame, type ServerFrame } from "../../src/gen/throng/client/v1/client_pb";
import { ErrorCode } from "../../src/gen/throng/common/v1/error_pb";
import { Delivery, GroupSchema, GroupSettingsSchema, OverBudget, Role } from "../../src/gen/throng/common/v1/group_pb";
import { MessageSchema, type Message } from "../../src/gen/throng/common/v1/message_pb";

type Event = ServerFrame["event"];

/** One client's side of the edge. */
export interface Link {
  readonly userId: string;
  readonly name: string;
  readonly push: (frame: Uint8Array<ArrayBuffer>) => void;
  /** Groups that were entered, with what to send for them. */
  readonly entered: Map<string, Delivery>;
  /** The page said that it is hidden: it gets notices alone. */
  hidden?: boolean;
  /** Pulls that were asked for. */
  pulls?: number;
}

export interface FakeGroup {
  readonly id: string;
  name: string;
  epoch: number;
  messages: Message[];
  announcement: string;
  memberCount: number;
  readonly read: Map<string, number>;
  readonly deleted: Map<string, Set<number>>;
}

export const PAGE = 50;
const PULL_PAGE = 200;

export class FakeEdge {
  readonly groups = new Map<string, FakeGroup>();
  readonly links = new Set<Link>();
  /** Refuses submissions with this code. */
  refuse: ErrorCode | null = null;
  /** What a refusal says about trying again, milliseconds. */
  retryAfterMs = 1_000;
  /** Settings of all groups. */
  sendIntervalMs = 0;
  /** Told to those who enter; 0: not known. */
  online = 0;
  overBudget = OverBudget.REJECT;
  role = Role.MEMBER;
  /** Stores submissions and keeps their ACKs to itself. */
  swallowAcks = false;
  /** Leaves out pushed blocks and notices. */
  silent = false;
  /** What clients showed when they entered, in order. */
  readonly resumeTokensShown: string[] = [];
  private tokensGiven = 0;

  constructor(private readonly now: () => number = () => Date.now()) {}

  group(id: string, name = id): FakeGroup {
    let group = this.groups.get(id);
    if (group === undefined) {
      group = { id, name, epoch: 1, messages: [], announcement: "", memberCount: 1, read: new Map(), deleted: new Map() };
      this.groups.set(id, group);
    }
    return group;
  }

  connect(userId: string, name: string, push: Link["push"], named: readonly string[] = []): Link {
    const link: Link = { userId, name, push, entered: new Map() };
    this.links.add(link);
    const reconnect = { baseMs: 100, maxMs: 1_000 };
    const welcome = { userId, edgeId: "edge-1", connId: "c1", heartbeatIntervalMs: 30_000, maxFrameBytes: 65_536, reconnect };
    this.tell(link, 0n, { case: "welcome", value: welcome });
    for (const groupId of named) this.enter(link, 0n, groupId, { epoch: 0, seq: 0, delivery: Delivery.INLINE });
    return link;
  }

  disconnect(link: Link): void {
    this.links.delete(link);
  }

  receive(link: Link, bytes: Uint8Array): void {
    const { requestId, request } = fromBinary(ClientFrameSchema, bytes);
    this.handle(link, requestId, request);
  }

  /** Stores a message as another user's. */
  say(groupId: string, senderId: string, text: string, options: { readonly name?: string; readonly sentAtMs?: number } = {}): Message {
    const content = { case: "text" as const, value: { $typeName: "throng.common.v1.Text" as const, text } };
    return this.store(groupId, { senderId, senderName: options.name ?? senderId, content, clientMsgId: "", sentAtMs: options.sentAtMs });
  }

  /** Takes a message back and tells everybody. */
  recall(groupId: string, senderId: string, seq: number): Message {
    const value = { $typeName: "throng.common.v1.Recall" as const, targetSeq: BigInt(seq) };
    const content = { case: "recall" as const, value };
    const event = this.store(groupId, { senderId, senderName: senderId, content, clientMsgId: `recall-${seq}` });
    const target = this.group(groupId).messages[seq - 1];
    if (target !== undefined) {
      target.recalledBySeq = event.seq;
      target.content = { case: undefined };
    }
    return event;
  }

  /** Pushes the newest `count` messages to one link, as a block or as a notice. */
  deliver(link: Link, groupId: string, fromSeq: number, upToSeq: number): void {
    const delivery = link.entered.get(groupId);
    const group = this.group(groupId);
    if (delivery === undefined) return;
    const { epoch } = group;
    if (delivery === Delivery.NOTIFY || link.hidden === true) {
      this.tell(link, 0n, { case: "notice", value: { groupId, epoch, headSeq: BigInt(upToSeq) } });
      return;
    }
    const messages = group.messages.slice(fromSeq - 1, upToSeq);
    this.tell(link, 0n, { case: "block", value: { groupId, epoch, prevSeq: BigInt(fromSeq - 1), messages } });
  }

  /** Tells everybody in the group how far it goes. */
  announceHeads(): void {
    for (const link of this.links) for (const groupId of link.entered.keys()) this.tellHead(link, groupId);
  }

  private tellHead(link: Link, groupId: string): void {
    const { epoch, messages } = this.group(groupId);
    this.tell(link, 0n, { case: "notice", value: { groupId, epoch, headSeq: BigInt(messages.length) } });
  }

  tell(link: Link, requestId: bigint, event: Init): void {
    const frame = create(ServerFrameSchema, { requestId, event: event as Event });
    link.push(toBinary(ServerFrameSchema, frame) as Uint8Array<ArrayBuffer>);
  }

  private store(groupId: string, given: Given): Message {
    const group = this.group(groupId);
    const message = create(MessageSchema, {
      seq: BigInt(group.messages.length + 1),
      senderId: given.senderId,
      senderName: given.senderName,
      clientMsgId: given.clientMsgId,
      sentAtMs: BigInt(given.sentAtMs ?? this.now()),
      content: given.content,
    });
    group.messages.push(message);
    const seq = group.messages.length;
    if (!this.silent) for (const link of this.links) this.deliver(link, groupId, seq, seq);
    return message;
  }

  /** Gives everybody a fresh token. */
  refreshToken(groupId: string, token: string): void {
    for (const link of this.links) this.tell(link, 0n, { case: "resume", value: { groupId, token } });
  }

  /** Tells everybody that a group is as it is described now. */
  tellChanged(groupId: string): void {
    const event = { case: "changed" as const, value: { group: this.describe(this.group(groupId)) } };
    for (const link of this.links) this.tell(link, 0n, { case: "groupEvent", value: { groupId, event } });
  }

  private handle(link: Link, requestId: bigint, request: ClientFrame["request"]): void {
    switch (request.case) {
      case "enter": {
        const { groupId, epoch, seq, delivery, resumeToken } = request.value;
        this.resumeTokensShown.push(resumeToken);
        this.enter(link, requestId, groupId, { epoch, seq: Number(seq), delivery });
        break;
      }
      case "send":
        this.submit(link, requestId, request.value);
        break;
      case "setVisibility": {
        link.hidden = request.value.hidden;
        for (const groupId of link.entered.keys()) this.tellHead(link, groupId);
        break;
      }
      case "pull": {
        link.pulls = (link.pulls ?? 0) + 1;
        const { groupId, afterSeq, upToSeq, epoch } = request.value;
        const group = this.group(groupId);
        if (epoch !== group.epoch) this.fail(link, requestId, groupId, ErrorCode.EPOCH_MISMATCH);
        else if (!link.entered.has(groupId)) this.fail(link, requestId, groupId, ErrorCode.NOT_ENTERED);
        else this.page(link, requestId, group, Number(afterSeq), Math.min(Number(upToSeq), Number(afterSeq) + PULL_PAGE));
        break;
      }
      case "history": {
        const { groupId, beforeSeq, limit } = request.value;
        const before = Number(beforeSeq);
        this.page(link, requestId, this.group(groupId), Math.max(0, before - 1 - (limit || PAGE)), before - 1);
        break;
      }
      case "reportRead": {
        const { read } = this.group(request.value.groupId);
        read.set(link.userId, Math.max(read.get(link.userId) ?? 0, Number(request.value.readSeq)));
        break;
      }
      case "recall": {
        const { groupId, seq } = request.value;
        const event = this.recall(groupId, link.userId, Number(seq));
        const value = { groupId, clientMsgId: event.clientMsgId, epoch: 1, seq: event.seq, sentAtMs: event.sentAtMs };
        this.tell(link, requestId, { case: "ack", value });
        break;
      }
      case "deleteForMe": {
        const { groupId, seq } = request.value;
        const group = this.group(groupId);
        group.deleted.set(link.userId, new Set([...(group.deleted.get(link.userId) ?? []), Number(seq)]));
        const event = { case: "deletedForMe" as const, value: { seqs: [seq] } };
        this.tell(link, requestId, { case: "groupEvent", value: { groupId, event } });
        break;
      }
      case "listGroups": {
        const groups = [...this.groups.values()].map((group) => ({
          group: this.describe(group),
          role: Role.MEMBER,
          unread: this.unread(group, link.userId),
        }));
        this.tell(link, requestId, { case: "groups", value: { groups } });
        break;
      }
      case "ping":
        this.tell(link, requestId, { case: "pong", value: { timeMs: BigInt(this.now()) } });
        break;
    }
  }

  private submit(link: Link, requestId: bigint, send: Extract<ClientFrame["request"], { case: "send" }>["value"]): void {
    const { groupId, clientMsgId, content } = send;
    const group = this.group(groupId);
    if (this.refuse !== null) {
      this.tell(link, requestId, { case: "reject", value: { groupId, clientMsgId, code: this.refuse, retryAfterMs: this.retryAfterMs } });
      return;
    }
    const known = group.messages.find((message) => message.senderId === link.userId && message.clientMsgId === clientMsgId);
    const given = { senderId: link.userId, senderName: link.name, clientMsgId, content: content as Message["content"] };
    const message = known ?? this.store(groupId, given);
    if (this.swallowAcks) return;
    const value = { groupId, clientMsgId, epoch: group.epoch, seq: message.seq, sentAtMs: message.sentAtMs };
    this.tell(link, requestId, { case: "ack", value });
  }

  private enter(
    link: Link,
    requestId: bigint,
    groupId: string,
    position: { readonly epoch: number; readonly seq: number; readonly delivery: Delivery },
  ): void {
    const group = this.group(groupId);
    link.entered.set(groupId, position.delivery === Delivery.NOTIFY ? Delivery.NOTIFY : Delivery.INLINE);
    const reset = position.seq !== 0 && position.epoch !== group.epoch;
    const head = group.messages.length;
    const after = position.seq === 0 || reset || head - position.seq > PULL_PAGE ? Math.max(0, head - PAGE) : position.seq;
    const value = {
      group: this.describe(group),
      role: this.role,
      messages: group.messages.slice(after),
      unread: this.unread(group, link.userId),
      deletedSeqs: [...(group.deleted.get(link.userId) ?? [])].map(BigInt),
      reset,
      resumeToken: `token ${(this.tokensGiven += 1)}`,
      online: BigInt(this.online),
    };
    this.tell(link, requestId, { case: "entered", value });
  }

  private page(link: Link, requestId: bigint, group: FakeGroup, afterSeq: number, upToSeq: number): void {
    const messages = group.messages.slice(afterSeq, Math.min(upToSeq, group.messages.length));
    const value = {
      groupId: group.id,
      epoch: group.epoch,
      afterSeq: BigInt(afterSeq),
      upToSeq: BigInt(afterSeq + messages.length),
      headSeq: BigInt(group.messages.length),
      messages,
    };
    this.tell(link, requestId, { case: "pulled", value });
  }

  private fail(link: Link, requestId: bigint, groupId: string, code: ErrorCode): void {
    this.tell(link, requestId, { case: "failure", value: { code, text: "", groupId } });
  }

  private describe(group: FakeGroup) {
    return create(GroupSchema, {
      groupId: group.id,
      name: group.name,
      epoch: group.epoch,
      headSeq: BigInt(group.messages.length),
      memberCount: BigInt(group.memberCount),
      announcement: group.announcement,
      settings: create(GroupSettingsSchema, { open: true, sendIntervalMs: this.sendIntervalMs, overBudget: this.overBudget }),
    });
  }

  private unread(group: FakeGroup, userId: string) {
    const readSeq = group.read.get(userId) ?? 0;
    const counted = group.messages.slice(readSeq).filter((message) => message.senderId !== userId && countable(message));
    return { count: Math.min(99, counted.length), capped: counted.length > 99, readSeq: BigInt(readSeq) };
  }
}

function countable(message: Message): boolean {
  return message.content.case !== "recall" && message.recalledBySeq === 0n;
}

interface Given {
  readonly senderId: string;
  readonly senderName: string;
  readonly clientMsgId: string;
  readonly content: Message["content"];
  readonly sentAtMs?: number | undefined;
}

/** What `create` takes for an event. */
type Init = { readonly case: NonNullable<Event["case"]>; readonly value: object };
