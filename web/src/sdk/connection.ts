/** One WebSocket to some edge, kept up: opening, liveness, and coming back by the rules of `welcome` and of close codes. */

import { Backoff } from "./backoff";
import { reconnectRule } from "./close_codes";
import { decode, encode, type Decoded } from "./codec";
import type { Environment, Socket, TimerId } from "./environment";
import { Store } from "./store";
import { tokenExpiresAtMs } from "./token";
import type { ClientRequest, Welcome } from "./types";

/** Why a token is asked for: the first one, the edge says it is over, or handshakes fail and nobody says why. */
export type TokenReason = "start" | "expired" | "refused";

/** Gives a JWT, or null when the user has to sign in again. Rejecting means: try later. */
export type TokenSource = (reason: TokenReason) => Promise<string | null>;

export type ConnectionState =
  | { readonly phase: "idle" }
  | { readonly phase: "connecting"; readonly attempt: number }
  | { readonly phase: "online"; readonly welcome: Welcome }
  | { readonly phase: "waiting"; readonly attempt: number; readonly retryAtMs: number; readonly code: number }
  | { readonly phase: "stopped"; readonly reason: "closed" | "signed_out" | "refused"; readonly code: number };

export interface ConnectionHandlers {
  /** Address with query for the next attempt; called before each. */
  address(base: string): string;
  onOnline(welcome: Welcome): void;
  onFrame(frame: Decoded): void;
  /** After having been online. */
  onOffline(): void;
}

export interface ConnectionOptions {
  readonly environment: Environment;
  /** ws:// or wss:// address of /ws without a query. */
  readonly url: string;
  readonly token: TokenSource;
  /** Optional http address of /v1/assign, asked before each attempt; when it fails, `url` is used. */
  readonly assignUrl?: string | undefined;
}

const SUBPROTOCOL = "throng.v1.protobuf";
const OPENING_TIMEOUT_MS = 10_000;
const ASSIGN_TIMEOUT_MS = 3_000;
const STABLE_AFTER_MS = 5_000;
const FAILURES_BEFORE_NEW_TOKEN = 3;
const MAX_BUFFERED_BYTES = 1_048_576;
const CLOSED_ABNORMALLY = 1006;

export class Connection {
  readonly state = new Store<ConnectionState>({ phase: "idle" });
  private readonly backoff: Backoff;
  private socket: Socket | null = null;
  private token: string | null = null;
  private tokenReason: TokenReason = "start";
  private attempt = 0;
  private failedOpenings = 0;
  private life = 0;
  private avoid = "";
  private onlineSinceMs = 0;
  private heardAtMs = 0;
  private timer: TimerId = null;
  private livenessTimer: TimerId = null;
  private drainTimer: TimerId = null;

  constructor(
    private readonly options: ConnectionOptions,
    private readonly handlers: ConnectionHandlers,
  ) {
    this.backoff = new Backoff(() => options.environment.random(), 500, 15_000);
  }

  start(): void {
    const phase = this.state.get().phase;
    if (phase === "idle" || phase === "stopped") void this.open();
  }

  /** Closes for good; `start` opens again. */
  stop(reason: "closed" | "signed_out" | "refused" = "closed", code = 1000): void {
    const wasOnline = this.letGo();
    this.state.set({ phase: "stopped", reason, code });
    if (wasOnline) this.handlers.onOffline();
  }

  /** Tries at once instead of after the wait: the network or the user is back. */
  nudge(): void {
    if (this.state.get().phase !== "waiting") return;
    this.backoff.reset();
    void this.open();
  }

  /** Asks for a sign of life and starts again when there is none within `deadlineMs`. */
  checkAlive(deadlineMs: number): void {
    if (this.state.get().phase !== "online") return;
    const { environment } = this.options;
    const askedAtMs = environment.now();
    if (!this.send({ kind: "ping" }, 0)) return;
    environment.clearTimer(this.livenessTimer);
    this.livenessTimer = environment.setTimer(() => {
      if (this.heardAtMs < askedAtMs) this.lost(CLOSED_ABNORMALLY);
      else this.watchLiveness();
    }, deadlineMs);
  }

  /** Returns false when there is no connection, or when it takes nothing more for now. */
  send(request: ClientRequest, requestId: number): boolean {
    if (this.socket === null || this.state.get().phase !== "online") return false;
    if (this.socket.bufferedAmount > MAX_BUFFERED_BYTES) return false;
    this.socket.send(encode(request, requestId));
    return true;
  }

  /** The edge empties itself: leave after the time it gave, and come back without a further wait. */
  drain(afterMs: number): void {
    this.options.environment.clearTimer(this.drainTimer);
    this.drainTimer = this.options.environment.setTimer(() => {
      if (this.state.get().phase !== "online") return;
      this.avoidThisEdge();
      this.letGo();
      this.handlers.onOffline();
      void this.open();
    }, afterMs);
  }

  private async open(): Promise<void> {
    const { environment } = this.options;
    environment.clearTimer(this.timer);
    const life = (this.life += 1);
    this.attempt += 1;
    if (this.token !== null && tokenExpiresAtMs(this.token) <= environment.now()) this.forgetToken("expired");
    this.state.set({ phase: "connecting", attempt: this.attempt });
    let token: string | null;
    try {
      token = this.token ?? (await this.options.token(this.tokenReason));
    } catch {
      if (life === this.life) this.retryLater(CLOSED_ABNORMALLY);
      return;
    }
    if (life !== this.life) return;
    if (token === null) {
      this.stop("signed_out");
      return;
    }
    this.token = token;
    const base = await this.assigned();
    if (life === this.life) this.dial(this.handlers.address(base), token, life);
  }

  /** The edge that the router recommends, or the address that is known. */
  private async assigned(): Promise<string> {
    const { assignUrl, url, environment } = this.options;
    // Every other attempt goes to the address that is known, should the recommended one not be reachable from here.
    if (assignUrl === undefined || this.failedOpenings % 2 === 1) return url;
    try {
      const query = this.avoid === "" ? "" : `?avoid=${encodeURIComponent(this.avoid)}`;
      const answer = (await environment.fetchJson(assignUrl + query, ASSIGN_TIMEOUT_MS)) as { readonly url?: unknown } | null;
      const given = answer?.url;
      return typeof given === "string" && /^wss?:\/\//.test(given) ? `${given.replace(/\/$/, "")}/ws` : url;
    } catch {
      return url;
    }
  }

  private dial(address: string, token: string, life: number): void {
    const { environment } = this.options;
    let socket: Socket;
    try {
      socket = environment.openSocket(address, [SUBPROTOCOL, `bearer.${token}`]);
    } catch {
      this.retryLater(CLOSED_ABNORMALLY);
      return;
    }
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => {
      if (life === this.life) this.take(event.data);
    };
    socket.onclose = (event) => {
      if (life === this.life) this.lost(event.code);
    };
    this.timer = environment.setTimer(() => this.lost(CLOSED_ABNORMALLY), OPENING_TIMEOUT_MS);
  }

  private take(data: unknown): void {
    this.heardAtMs = this.options.environment.now();
    if (!(data instanceof ArrayBuffer)) return;
    let frame: Decoded;
    try {
      frame = decode(new Uint8Array(data));
    } catch {
      this.lost(CLOSED_ABNORMALLY);
      return;
    }
    if (frame.event.kind === "welcome") this.welcomed(frame.event.welcome);
    else if (frame.event.kind === "drain") this.drain(frame.event.reconnectAfterMs);
    else this.handlers.onFrame(frame);
  }

  private welcomed(welcome: Welcome): void {
    const { environment } = this.options;
    environment.clearTimer(this.timer);
    this.backoff.setBounds(welcome.reconnectBaseMs, welcome.reconnectMaxMs);
    this.attempt = 0;
    this.failedOpenings = 0;
    this.onlineSinceMs = environment.now();
    this.state.set({ phase: "online", welcome });
    this.watchLiveness();
    this.handlers.onOnline(welcome);
  }

  /** Pages do not see protocol pings, so a connection that died without a word is found by asking when it is silent for long. */
  private watchLiveness(): void {
    const state = this.state.get();
    if (state.phase !== "online") return;
    const { environment } = this.options;
    const paceMs = Math.max(5_000, state.welcome.heartbeatIntervalMs || 30_000);
    environment.clearTimer(this.livenessTimer);
    this.livenessTimer = environment.setTimer(() => {
      if (environment.now() - this.heardAtMs >= paceMs) this.checkAlive(10_000);
      else this.watchLiveness();
    }, paceMs);
  }

  private lost(code: number): void {
    const { environment } = this.options;
    this.avoidThisEdge();
    const wasOnline = this.letGo();
    if (wasOnline && environment.now() - this.onlineSinceMs >= STABLE_AFTER_MS) this.backoff.reset();
    const rule = reconnectRule(code);
    if (!wasOnline) this.failedOpenings += 1;
    if (rule === "never") {
      this.state.set({ phase: "stopped", reason: "refused", code });
    } else {
      if (rule === "new_token") this.forgetToken("expired");
      else if (!wasOnline && this.failedOpenings % FAILURES_BEFORE_NEW_TOKEN === 0) this.forgetToken("refused");
      this.retryLater(code);
    }
    if (wasOnline) this.handlers.onOffline();
  }

  private avoidThisEdge(): void {
    const state = this.state.get();
    this.avoid = state.phase === "online" ? state.welcome.edgeId : "";
  }

  private forgetToken(reason: TokenReason): void {
    this.token = null;
    this.tokenReason = reason;
  }

  private retryLater(code: number): void {
    const { environment } = this.options;
    const delayMs = this.backoff.next();
    this.state.set({ phase: "waiting", attempt: this.attempt, retryAtMs: environment.now() + delayMs, code });
    this.timer = environment.setTimer(() => void this.open(), delayMs);
  }

  /** Leaves the socket at once, without waiting for a close handshake that a dead network never ends. */
  private letGo(): boolean {
    const { environment } = this.options;
    const wasOnline = this.state.get().phase === "online";
    this.life += 1;
    for (const timer of [this.timer, this.livenessTimer, this.drainTimer]) environment.clearTimer(timer);
    const socket = this.socket;
    this.socket = null;
    if (socket !== null) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
    return wasOnline;
  }
}
