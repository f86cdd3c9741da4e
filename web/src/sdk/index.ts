/**
 * Throng SDK: talks to an edge over one WebSocket and keeps what a page shows. It knows nothing of any page.
 *
 *   client.ts          the facade: open, send, retry, visibility
 *   connection.ts      one socket kept up: liveness, reconnecting, tokens, drain
 *   group.ts           one group: blocks, notices, history, own messages
 *   gap_puller.ts      pulls what a group misses
 *   read_reporter.ts   reports how far the user has read in a group
 *   group_view.ts      what a page shows of a group
 *   reminder_queue.ts  what was announced and is not held yet
 *   message_queue.ts   what is shown
 *   unread_counter.ts  unread count of an entered group
 *   group_list.ts      all groups with counts and previews
 *   outgoing.ts        what was written and has no answer yet
 *   send_pace.ts       slow mode: when one may write again
 *   requests.ts        requests that wait for answers
 *   codec.ts           frames from and to bytes
 *   backoff.ts, close_codes.ts, token.ts, store.ts, environment.ts, types.ts
 *
 *   bytes -> connection -> codec -> client -> group -> reminder queue -> message queue -> view (a Store)
 */

export { ThrongClient, type ClientOptions } from "./client";
export type { ConnectionState, TokenReason, TokenSource } from "./connection";
export type { GroupSession } from "./group";
export type { GroupListView, GroupRow } from "./group_list";
export type { GroupPhase, GroupView } from "./group_view";
export type { Entry, EntryState } from "./message_queue";
export { SLOW_MODE_FROM_MS } from "./send_pace";
export { Store } from "./store";
export { tokenExpiresAtMs, tokenName } from "./token";
export { ErrorCode, Role, type Content, type GroupInfo, type Refusal, type Unread } from "./types";
