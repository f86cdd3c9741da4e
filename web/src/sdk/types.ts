/** Plain values that the SDK speaks in: numbers for seqs, no generated classes. */

export type { ReconnectRule } from "./close_codes";
export { ErrorCode } from "../gen/throng/common/v1/error_pb";
export { Role, Delivery, OverBudget } from "../gen/throng/common/v1/group_pb";
import type { ErrorCode } from "../gen/throng/common/v1/error_pb";
import type { Delivery, OverBudget, Role } from "../gen/throng/common/v1/group_pb";

/** What a message says; `none`: it was recalled, or is of a kind that this client does not know. */
export type Content =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "image"; readonly url: string; readonly width: number; readonly height: number; readonly alt: string }
  | { readonly kind: "custom"; readonly type: string; readonly payload: Uint8Array }
  | { readonly kind: "system"; readonly event: string; readonly text: string }
  | { readonly kind: "recall"; readonly targetSeq: number }
  | { readonly kind: "edit"; readonly targetSeq: number; readonly text: string }
  | { readonly kind: "none" };

/** One stored message of a group. */
export interface Message {
  readonly seq: number;
  readonly senderId: string;
  readonly senderName: string;
  readonly clientMsgId: string;
  readonly sentAtMs: number;
  readonly mentions: readonly string[];
  readonly replyToSeq: number;
  /** Seq of the recall that blanked it; 0: not recalled. */
  readonly recalledBySeq: number;
  readonly content: Content;
}

export interface GroupInfo {
  readonly groupId: string;
  readonly name: string;
  readonly epoch: number;
  readonly headSeq: number;
  readonly memberCount: number;
  readonly announcement: string;
  readonly sendIntervalMs: number;
  /** What happens to messages over the group's budget. */
  readonly overBudget: OverBudget;
  readonly open: boolean;
}

export interface Unread {
  /** 0 to 99. */
  readonly count: number;
  /** There are more; show "99+". */
  readonly capped: boolean;
  readonly readSeq: number;
}

export interface GroupEntry {
  readonly group: GroupInfo;
  readonly role: Role;
  readonly unread: Unread | null;
}

/** A frame from an edge, one variant per oneof case. */
export type ServerEvent =
  | { readonly kind: "welcome"; readonly welcome: Welcome }
  | { readonly kind: "entered"; readonly entered: Entered }
  | { readonly kind: "ack"; readonly ack: Ack }
  | { readonly kind: "reject"; readonly reject: Reject }
  | { readonly kind: "notice"; readonly groupId: string; readonly epoch: number; readonly headSeq: number }
  | { readonly kind: "block"; readonly block: Block }
  | { readonly kind: "pulled"; readonly pulled: Pulled }
  | { readonly kind: "groups"; readonly groups: readonly GroupEntry[]; readonly unreadUnavailable: boolean }
  | { readonly kind: "unread_counts"; readonly counts: readonly { readonly groupId: string; readonly unread: Unread }[] }
  | { readonly kind: "online"; readonly groupId: string; readonly count: number }
  | { readonly kind: "left"; readonly groupId: string }
  | { readonly kind: "removed"; readonly groupId: string }
  | { readonly kind: "deleted_for_me"; readonly groupId: string; readonly seqs: readonly number[] }
  | { readonly kind: "group_changed"; readonly groupId: string; readonly group: GroupInfo }
  | { readonly kind: "resume"; readonly groupId: string; readonly token: string }
  | { readonly kind: "drain"; readonly reconnectAfterMs: number }
  | { readonly kind: "pong"; readonly timeMs: number }
  | { readonly kind: "failure"; readonly failure: Failure }
  | { readonly kind: "unknown" };

export interface Welcome {
  readonly userId: string;
  readonly edgeId: string;
  readonly connId: string;
  readonly heartbeatIntervalMs: number;
  readonly maxFrameBytes: number;
  readonly minSendIntervalMs: number;
  readonly reconnectBaseMs: number;
  readonly reconnectMaxMs: number;
}

export interface Entered {
  readonly group: GroupInfo;
  readonly role: Role;
  readonly messages: readonly Message[];
  readonly unread: Unread | null;
  readonly deletedSeqs: readonly number[];
  readonly reset: boolean;
  readonly resumeToken: string;
  /** Connections in the group; null: not known yet. */
  readonly online: number | null;
}

export interface Ack {
  readonly groupId: string;
  readonly clientMsgId: string;
  readonly epoch: number;
  readonly seq: number;
  readonly sentAtMs: number;
}

export interface Refusal {
  readonly code: ErrorCode;
  /** English sentence of the server; pages have their own words per code. */
  readonly text: string;
  readonly retryAfterMs: number;
  /** More than the code says, by the group's settings at that time: the interval is that of slow mode; the lot fell upon others. */
  readonly reason?: "slow_mode" | "not_chosen";
}

export interface Reject extends Refusal {
  readonly groupId: string;
  readonly clientMsgId: string;
}

export interface Failure extends Refusal {
  readonly groupId: string;
}

export interface Block {
  readonly groupId: string;
  readonly epoch: number;
  readonly prevSeq: number;
  readonly messages: readonly Message[];
}

export interface Pulled {
  readonly groupId: string;
  readonly epoch: number;
  readonly afterSeq: number;
  readonly upToSeq: number;
  readonly headSeq: number;
  readonly messages: readonly Message[];
  readonly deletedSeqs: readonly number[];
}

/** A request to an edge. */
export type ClientRequest =
  | {
      readonly kind: "enter";
      readonly groupId: string;
      readonly epoch: number;
      readonly seq: number;
      readonly delivery: Delivery;
      /** The newest token given for the group; empty: none. */
      readonly resumeToken: string;
    }
  | { readonly kind: "leave"; readonly groupId: string }
  | { readonly kind: "send"; readonly groupId: string; readonly clientMsgId: string; readonly text: string }
  | { readonly kind: "pull"; readonly groupId: string; readonly epoch: number; readonly afterSeq: number; readonly upToSeq: number }
  | { readonly kind: "history"; readonly groupId: string; readonly beforeSeq: number; readonly limit: number }
  | { readonly kind: "report_read"; readonly groupId: string; readonly readSeq: number }
  | { readonly kind: "recall"; readonly groupId: string; readonly seq: number }
  | { readonly kind: "delete_for_me"; readonly groupId: string; readonly seq: number }
  | { readonly kind: "list_groups" }
  | { readonly kind: "set_visibility"; readonly hidden: boolean }
  | { readonly kind: "ping" };
