/** Turns requests into ClientFrame bytes and ServerFrame bytes into events (hops 1 and 7); the only user of generated code. */

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  ClientFrameSchema,
  DeleteForMeSchema,
  EnterSchema,
  HistorySchema,
  LeaveSchema,
  ListGroupsSchema,
  PingSchema,
  PullSchema,
  RecallSchema,
  ReportReadSchema,
  SendSchema,
  ServerFrameSchema,
  SetVisibilitySchema,
  type ClientFrame,
  type Entered as WireEntered,
  type GroupEvent as WireGroupEvent,
  type Pulled as WirePulled,
  type ServerFrame,
  type Unread as WireUnread,
} from "../gen/throng/client/v1/client_pb";
import { TextSchema, type Message as WireMessage } from "../gen/throng/common/v1/message_pb";
import { OverBudget, type Group as WireGroup } from "../gen/throng/common/v1/group_pb";
import type { ClientRequest, Content, Entered, GroupInfo, Message, Pulled, ServerEvent, Unread } from "./types";

/** A frame that is no ServerFrame, or holds a number that JavaScript cannot hold. */
export class MalformedFrame extends Error {}

export interface Decoded {
  readonly requestId: number;
  readonly event: ServerEvent;
}

/** Serializes a request; `requestId` 0: none. */
export function encode(request: ClientRequest, requestId: number): Uint8Array<ArrayBuffer> {
  const frame = create(ClientFrameSchema, { requestId: BigInt(requestId), request: wireRequest(request) });
  return toBinary(ClientFrameSchema, frame) as Uint8Array<ArrayBuffer>;
}

function wireRequest(request: ClientRequest): ClientFrame["request"] {
  switch (request.kind) {
    case "enter": {
      const { groupId, epoch, seq, delivery, resumeToken } = request;
      return { case: "enter", value: create(EnterSchema, { groupId, epoch, seq: BigInt(seq), delivery, resumeToken }) };
    }
    case "leave":
      return { case: "leave", value: create(LeaveSchema, { groupId: request.groupId }) };
    case "send": {
      const { groupId, clientMsgId, text } = request;
      const content = { case: "text" as const, value: create(TextSchema, { text }) };
      return { case: "send", value: create(SendSchema, { groupId, clientMsgId, content }) };
    }
    case "pull": {
      const { groupId, epoch, afterSeq, upToSeq } = request;
      const value = create(PullSchema, { groupId, epoch, afterSeq: BigInt(afterSeq), upToSeq: BigInt(upToSeq) });
      return { case: "pull", value };
    }
    case "history": {
      const { groupId, beforeSeq, limit } = request;
      return { case: "history", value: create(HistorySchema, { groupId, beforeSeq: BigInt(beforeSeq), limit }) };
    }
    case "report_read":
      return {
        case: "reportRead",
        value: create(ReportReadSchema, { groupId: request.groupId, readSeq: BigInt(request.readSeq) }),
      };
    case "recall":
      return { case: "recall", value: create(RecallSchema, { groupId: request.groupId, seq: BigInt(request.seq) }) };
    case "delete_for_me":
      return { case: "deleteForMe", value: create(DeleteForMeSchema, { groupId: request.groupId, seq: BigInt(request.seq) }) };
    case "list_groups":
      return { case: "listGroups", value: create(ListGroupsSchema) };
    case "set_visibility":
      return { case: "setVisibility", value: create(SetVisibilitySchema, { hidden: request.hidden }) };
    case "ping":
      return { case: "ping", value: create(PingSchema) };
  }
}

/** Parses a frame; throws MalformedFrame and nothing else. */
export function decode(bytes: Uint8Array): Decoded {
  let frame: ServerFrame;
  try {
    frame = fromBinary(ServerFrameSchema, bytes);
  } catch (error) {
    throw new MalformedFrame("not a ServerFrame", { cause: error });
  }
  return { requestId: safe(frame.requestId), event: event(frame.event) };
}

function event(wire: ServerFrame["event"]): ServerEvent {
  switch (wire.case) {
    case "welcome": {
      const value = wire.value;
      const { userId, edgeId, connId, heartbeatIntervalMs, maxFrameBytes, minSendIntervalMs } = value;
      const reconnectBaseMs = value.reconnect?.baseMs ?? 0;
      const reconnectMaxMs = value.reconnect?.maxMs ?? 0;
      const limits = { heartbeatIntervalMs, maxFrameBytes, minSendIntervalMs, reconnectBaseMs, reconnectMaxMs };
      return { kind: "welcome", welcome: { userId, edgeId, connId, ...limits } };
    }
    case "entered":
      return { kind: "entered", entered: entered(wire.value) };
    case "ack": {
      const { groupId, clientMsgId, epoch, seq, sentAtMs } = wire.value;
      return { kind: "ack", ack: { groupId, clientMsgId, epoch, seq: safe(seq), sentAtMs: safe(sentAtMs) } };
    }
    case "reject": {
      const { groupId, clientMsgId, code, text, retryAfterMs } = wire.value;
      return { kind: "reject", reject: { groupId, clientMsgId, code, text, retryAfterMs } };
    }
    case "notice":
      return { kind: "notice", groupId: wire.value.groupId, epoch: wire.value.epoch, headSeq: safe(wire.value.headSeq) };
    case "block": {
      const { groupId, epoch, prevSeq, messages } = wire.value;
      return { kind: "block", block: { groupId, epoch, prevSeq: safe(prevSeq), messages: messages.map(message) } };
    }
    case "pulled":
      return { kind: "pulled", pulled: pulled(wire.value) };
    case "groups": {
      const groups = wire.value.groups.map((entry) => ({
        group: group(entry.group),
        role: entry.role,
        unread: unread(entry.unread),
      }));
      return { kind: "groups", groups, unreadUnavailable: wire.value.unreadUnavailable };
    }
    case "unreadCounts": {
      const counts = wire.value.counts.map((entry) => ({
        groupId: entry.groupId,
        unread: unread(entry.unread) ?? { count: 0, capped: false, readSeq: 0 },
      }));
      return { kind: "unread_counts", counts };
    }
    case "online":
      return { kind: "online", groupId: wire.value.groupId, count: safe(wire.value.count) };
    case "groupEvent":
      return groupEvent(wire.value);
    case "resume":
      return { kind: "resume", groupId: wire.value.groupId, token: wire.value.token };
    case "drain":
      return { kind: "drain", reconnectAfterMs: wire.value.reconnectAfterMs };
    case "pong":
      return { kind: "pong", timeMs: safe(wire.value.timeMs) };
    case "failure": {
      const { code, text, retryAfterMs, groupId } = wire.value;
      return { kind: "failure", failure: { code, text, retryAfterMs, groupId } };
    }
    case undefined:
      return { kind: "unknown" };
  }
}

function groupEvent(wire: WireGroupEvent): ServerEvent {
  const groupId = wire.groupId;
  switch (wire.event.case) {
    case "left":
      return { kind: "left", groupId };
    case "removed":
      return { kind: "removed", groupId };
    case "deletedForMe":
      return { kind: "deleted_for_me", groupId, seqs: wire.event.value.seqs.map(safe) };
    case "changed":
      return { kind: "group_changed", groupId, group: group(wire.event.value.group) };
    case undefined:
      return { kind: "unknown" };
  }
}

function entered(wire: WireEntered): Entered {
  return {
    group: group(wire.group),
    role: wire.role,
    messages: wire.messages.map(message),
    unread: unread(wire.unread),
    deletedSeqs: wire.deletedSeqs.map(safe),
    reset: wire.reset,
    resumeToken: wire.resumeToken,
    online: wire.online === 0n ? null : safe(wire.online),
  };
}

function pulled(wire: WirePulled): Pulled {
  return {
    groupId: wire.groupId,
    epoch: wire.epoch,
    afterSeq: safe(wire.afterSeq),
    upToSeq: safe(wire.upToSeq),
    headSeq: safe(wire.headSeq),
    messages: wire.messages.map(message),
    deletedSeqs: wire.deletedSeqs.map(safe),
  };
}

function message(wire: WireMessage): Message {
  return {
    seq: safe(wire.seq),
    senderId: wire.senderId,
    senderName: wire.senderName,
    clientMsgId: wire.clientMsgId,
    sentAtMs: safe(wire.sentAtMs),
    mentions: wire.mentions,
    replyToSeq: safe(wire.replyToSeq),
    recalledBySeq: safe(wire.recalledBySeq),
    content: content(wire.content),
  };
}

function content(wire: WireMessage["content"]): Content {
  switch (wire.case) {
    case "text":
      return { kind: "text", text: wire.value.text };
    case "image": {
      const { url, width, height, alt } = wire.value;
      return { kind: "image", url, width, height, alt };
    }
    case "custom":
      return { kind: "custom", type: wire.value.type, payload: wire.value.payload };
    case "system":
      return { kind: "system", event: wire.value.kind, text: wire.value.text };
    case "recall":
      return { kind: "recall", targetSeq: safe(wire.value.targetSeq) };
    case "edit":
      return { kind: "edit", targetSeq: safe(wire.value.targetSeq), text: wire.value.text };
    case undefined:
      return { kind: "none" };
  }
}

function group(wire: WireGroup | undefined): GroupInfo {
  if (wire === undefined) throw new MalformedFrame("a group is missing");
  return {
    groupId: wire.groupId,
    name: wire.name,
    epoch: wire.epoch,
    headSeq: safe(wire.headSeq),
    memberCount: safe(wire.memberCount),
    announcement: wire.announcement,
    sendIntervalMs: wire.settings?.sendIntervalMs ?? 0,
    overBudget: wire.settings?.overBudget ?? OverBudget.UNSPECIFIED,
    open: wire.settings?.open ?? false,
  };
}

function unread(wire: WireUnread | undefined): Unread | null {
  if (wire === undefined) return null;
  return { count: wire.count, capped: wire.capped, readSeq: safe(wire.readSeq) };
}

/** A 64-bit number as a JavaScript number; above 2^53 - 1 it would silently become another one, so it throws. */
export function safe(value: bigint): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new MalformedFrame(`${value} is beyond 2^53 - 1`);
  return number;
}
