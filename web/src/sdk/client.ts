/** The client: one connection, the groups of a user, and what is under way; the only class that a page constructs. */

import { Connection, type ConnectionState, type TokenSource } from "./connection";
import type { Decoded } from "./codec";
import { browserEnvironment, type Environment } from "./environment";
import { GroupSession } from "./group";
import { GroupList } from "./group_list";
import { OutgoingQueue, type Outgoing } from "./outgoing";
import { localRefusal, Requests } from "./requests";
import { Store } from "./store";
import { ErrorCode, type Refusal, type ServerEvent, type Welcome } from "./types";

export interface ClientOptions {
  /** ws:// or wss:// address of /ws, without a query. */
  readonly url: string;
  readonly token: TokenSource;
  /** Groups to enter from the start, open ones are joined by it. */
  readonly groups?: readonly string[];
  readonly assignUrl?: string;
  readonly environment?: Environment;
}

/** Groups that are entered for their previews and live counts; the others are refreshed by the list. */
const MAX_BACKGROUND_GROUPS = 20;
const MAX_SESSIONS = 30;
const LIST_REFRESH_MS = 60_000;
const ANSWER_TIMEOUT_MS = 10_000;
const ALIVE_DEADLINE_MS = 3_000;

export class ThrongClient {
  readonly groupList = new GroupList();
  /** User id by the newest `welcome`; empty before the first. */
  readonly userId = new Store("");
  private readonly environment: Environment;
  private readonly connection: Connection;
  private readonly requests: Requests;
  private readonly outgoing: OutgoingQueue;
  private readonly sessions = new Map<string, GroupSession>();
  private opened: GroupSession | null = null;
  private named = new Set<string>();
  private listTimer: unknown = null;
  private hidden = false;
  private minSendIntervalMs = 0;
  private maxFrameBytes = 0;

  constructor(options: ClientOptions) {
    const environment = options.environment ?? browserEnvironment();
    this.environment = environment;
    this.connection = new Connection(
      { environment, url: options.url, token: options.token, assignUrl: options.assignUrl },
      {
        address: (base) => this.address(base),
        onOnline: (welcome) => this.onOnline(welcome),
        onFrame: (frame) => this.onFrame(frame),
        onOffline: () => this.onOffline(),
      },
    );
    this.requests = new Requests(environment, (request, requestId) => this.connection.send(request, requestId));
    this.outgoing = new OutgoingQueue(environment, {
      ready: (groupId) => this.sessions.get(groupId)?.ready ?? false,
      intervalMs: (groupId) => Math.max(this.minSendIntervalMs, this.sessions.get(groupId)?.sendIntervalMs ?? 0),
      transmit: (item) => this.transmit(item),
      onFailed: (item, refusal) => this.sessions.get(item.groupId)?.onSendFailed(item.clientMsgId, refusal),
    });
    this.connection.state.subscribe((state) => this.onConnectionState(state));
    for (const groupId of options.groups ?? []) this.session(groupId);
  }

  get state(): Store<ConnectionState> {
    return this.connection.state;
  }

  start(): void {
    this.connection.start();
  }

  /** Reports what was read and closes; nothing comes afterwards. */
  stop(): void {
    for (const session of this.sessions.values()) session.flushRead();
    this.environment.clearTimer(this.listTimer);
    this.connection.stop();
  }

  /** Makes a group the open one: it gets whole blocks. Entering an open group joins it. */
  open(groupId: string): GroupSession {
    const session = this.session(groupId);
    if (this.opened === session) return session;
    this.opened?.setForeground(false);
    this.opened?.flushRead();
    this.opened = session;
    session.setForeground(true);
    // Last opened, last to be left when there are too many.
    this.sessions.delete(groupId);
    this.sessions.set(groupId, session);
    const { phase } = session.view.get();
    if ((phase === "idle" || phase === "removed") && this.isOnline) session.onOnline({ named: false });
    this.leaveSurplus();
    return session;
  }

  /** No group is open any more. */
  closeOpened(): void {
    this.opened?.flushRead();
    this.opened?.setForeground(false);
    this.opened = null;
  }

  /** Shows and submits a text; returns its client_msg_id, or null when too much is waiting already. */
  send(groupId: string, text: string): string | null {
    const session = this.session(groupId);
    const clientMsgId = this.environment.uuid();
    if (this.outgoing.full) return null;
    session.echo(clientMsgId, text);
    this.submit(session, clientMsgId, text);
    return clientMsgId;
  }

  /** Tries a failed message again, with the same id unless the server said that the id is spent. */
  retry(groupId: string, clientMsgId: string): void {
    const session = this.session(groupId);
    if (this.outgoing.full) return;
    const entry = session.view.get().entries.find((candidate) => candidate.clientMsgId === clientMsgId);
    if (entry?.refusal?.code === ErrorCode.CLIENT_MSG_ID_REUSED && entry.content.kind === "text") {
      session.discard(clientMsgId);
      this.send(groupId, entry.content.text);
      return;
    }
    const text = session.revive(clientMsgId);
    if (text !== null) this.submit(session, clientMsgId, text);
  }

  /** The page is hidden or shown; when it comes back it pulls what it missed and tests the connection, which may have died. */
  setHidden(hidden: boolean): void {
    if (this.hidden === hidden) return;
    this.hidden = hidden;
    if (hidden) for (const session of this.sessions.values()) session.flushRead();
    this.requests.tell({ kind: "set_visibility", hidden });
    for (const session of this.sessions.values()) session.onVisibility();
    if (!hidden) this.resume();
  }

  /** The browser says that the network came or went. */
  setNetwork(options: { readonly available: boolean }): void {
    if (options.available) this.connection.nudge();
    this.connection.checkAlive(ALIVE_DEADLINE_MS);
  }

  /** Tries to reconnect at once. */
  reconnectNow(): void {
    if (this.state.get().phase === "stopped") this.connection.start();
    else this.connection.nudge();
  }

  private resume(): void {
    this.connection.nudge();
    this.connection.checkAlive(ALIVE_DEADLINE_MS);
    this.listGroups();
  }

  private get isOnline(): boolean {
    return this.state.get().phase === "online";
  }

  private submit(session: GroupSession, clientMsgId: string, text: string): void {
    const tooLarge = this.maxFrameBytes > 0 && new TextEncoder().encode(text).length + 256 > this.maxFrameBytes;
    if (tooLarge) session.onSendFailed(clientMsgId, localRefusal(ErrorCode.TOO_LARGE, "larger than a frame may be"));
    else if (this.state.get().phase === "stopped") session.onSendFailed(clientMsgId, notConnected());
    else this.outgoing.add({ groupId: session.groupId, clientMsgId, text });
  }

  private transmit({ groupId, clientMsgId, text }: Outgoing): boolean {
    const taken = this.requests.tell({ kind: "send", groupId, clientMsgId, text });
    if (taken) this.sessions.get(groupId)?.onSubmitted(clientMsgId);
    return taken;
  }

  private session(groupId: string): GroupSession {
    let session = this.sessions.get(groupId);
    if (session !== undefined) return session;
    session = new GroupSession(groupId, {
      environment: this.environment,
      requests: this.requests,
      me: () => this.userId.get(),
      onStored: (ids) => {
        if (this.outgoing.length > 0) for (const id of ids) this.outgoing.acknowledge(id);
      },
      onReady: () => this.outgoing.pump(),
      hidden: () => this.hidden,
    });
    this.sessions.set(groupId, session);
    session.view.subscribe((view) => {
      this.groupList.onView(view);
      if (view.phase === "removed") this.outgoing.failAll(localRefusal(ErrorCode.NOT_A_MEMBER, "no member any more"), groupId);
      if (view.phase === "refused" && view.refusal !== null) this.outgoing.failAll(view.refusal, groupId);
    });
    return session;
  }

  /** Names the groups of which nothing is held yet in the address, which saves a round trip; the others need their position. */
  private address(base: string): string {
    const fresh = [...this.sessions.values()].filter(
      (session) => session === this.opened && !session.holdsHistory && session.view.get().phase !== "removed",
    );
    this.named = new Set(fresh.map((session) => session.groupId));
    const query = new URLSearchParams({ delivery: "inline" });
    if (fresh.length > 0) query.set("groups", [...this.named].join(","));
    return `${base}?${query}`;
  }

  private onOnline(welcome: Welcome): void {
    if (this.userId.get() !== "" && this.userId.get() !== welcome.userId) this.sessions.clear();
    this.userId.set(welcome.userId);
    this.minSendIntervalMs = welcome.minSendIntervalMs;
    this.maxFrameBytes = welcome.maxFrameBytes;
    if (this.hidden) this.requests.tell({ kind: "set_visibility", hidden: true });
    for (const [groupId, session] of this.sessions) {
      // Whoever was removed from an open group does not join it again by itself.
      if (session.view.get().phase !== "removed") session.onOnline({ named: this.named.has(groupId) });
    }
    this.listGroups();
  }

  private onOffline(): void {
    this.environment.clearTimer(this.listTimer);
    this.outgoing.onOffline();
    this.requests.failAll();
    for (const session of this.sessions.values()) session.onOffline();
  }

  private onConnectionState(state: ConnectionState): void {
    if (state.phase === "stopped") this.outgoing.failAll(notConnected());
  }

  private listGroups(): void {
    this.environment.clearTimer(this.listTimer);
    if (!this.isOnline) return;
    this.listTimer = this.environment.setTimer(() => this.listGroups(), LIST_REFRESH_MS * (0.75 + this.environment.random() / 2));
    if (this.hidden && this.groupList.view.get().loaded) return;
    this.requests.call({ kind: "list_groups" }, ANSWER_TIMEOUT_MS, (outcome) => {
      if ("event" in outcome) this.dispatch(outcome.event);
    });
  }

  private onFrame(frame: Decoded): void {
    if (frame.requestId !== 0 && this.requests.settle(frame.requestId, frame.event)) return;
    this.dispatch(frame.event);
  }

  private dispatch(event: ServerEvent): void {
    switch (event.kind) {
      case "entered":
        this.sessions.get(event.entered.group.groupId)?.onEntered(event.entered);
        break;
      case "block":
        this.sessions.get(event.block.groupId)?.onBlock(event.block);
        break;
      case "notice":
        this.sessions.get(event.groupId)?.onNotice(event.epoch, event.headSeq);
        break;
      case "ack": {
        const { groupId, clientMsgId, epoch, seq, sentAtMs } = event.ack;
        this.sessions.get(groupId)?.onAck(clientMsgId, epoch, seq, sentAtMs);
        this.outgoing.acknowledge(clientMsgId);
        break;
      }
      case "reject":
        this.outgoing.reject(event.reject.clientMsgId, event.reject);
        if (event.reject.code === ErrorCode.NOT_ENTERED) this.sessions.get(event.reject.groupId)?.onFailure(event.reject);
        break;
      case "groups":
        this.onGroups(event);
        break;
      case "unread_counts":
        for (const { groupId, unread } of event.counts) {
          if (this.sessions.get(groupId)?.ready !== true) this.groupList.onCount(groupId, unread);
        }
        break;
      case "resume":
        this.sessions.get(event.groupId)?.onResumeToken(event.token);
        break;
      case "online":
        this.sessions.get(event.groupId)?.onOnlineCount(event.count);
        break;
      case "removed":
        this.sessions.get(event.groupId)?.onRemoved();
        break;
      case "deleted_for_me":
        this.sessions.get(event.groupId)?.onDeletedForMe(event.seqs);
        break;
      case "group_changed":
        this.sessions.get(event.groupId)?.onChanged(event.group);
        break;
      case "failure":
        this.sessions.get(event.failure.groupId)?.onFailure(event.failure);
        break;
    }
  }

  private onGroups(event: Extract<ServerEvent, { kind: "groups" }>): void {
    this.groupList.onGroups(event.groups, (groupId) => this.sessions.get(groupId)?.ready ?? false);
    for (const { group } of event.groups) {
      if (this.sessions.size >= MAX_BACKGROUND_GROUPS) break;
      const session = this.session(group.groupId);
      const { phase } = session.view.get();
      if (phase === "idle" || phase === "removed" || phase === "refused") session.onOnline({ named: false });
    }
  }

  private leaveSurplus(): void {
    for (const [groupId, session] of this.sessions) {
      if (this.sessions.size <= MAX_SESSIONS) break;
      if (session === this.opened || session.view.get().entries.some((entry) => entry.state === "sending")) continue;
      session.close();
      this.requests.tell({ kind: "leave", groupId });
      this.sessions.delete(groupId);
    }
  }
}

function notConnected(): Refusal {
  return localRefusal(ErrorCode.UNAVAILABLE, "not connected");
}
