/** What a page shows of one group. */

import type { Entry } from "./message_queue";
import type { GroupInfo, Refusal, Role, Unread } from "./types";

/** `entering`: asked, not answered on this connection; `ready`: live; `refused`: not allowed; `removed`: no member any more. */
export type GroupPhase = "idle" | "entering" | "ready" | "refused" | "removed";

/** A new object on every change. */
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
  /** Slow mode: one's next message may go out then, milliseconds since 1970; in the past or 0: now. */
  readonly sendableAtMs: number;
}
