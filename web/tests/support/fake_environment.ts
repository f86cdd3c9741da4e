/** Time that stands still until a test moves it, seeded chance, and a network between a client and a fake edge that can misbehave. */

import type { Environment, Socket } from "../../src/sdk/environment";
import { FakeEdge, type Link } from "./fake_edge";

interface Timer {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

const START_MS = 1_790_000_000_000;
const LATENCY_MS = 5;

/** What becomes of a pushed frame: after how many milliseconds it arrives, as often as there are numbers. */
export type Fate = (frame: Uint8Array) => readonly number[];

export class FakeEnvironment implements Environment {
  readonly sockets: FakeSocket[] = [];
  readonly addresses: string[] = [];
  readonly edge: FakeEdge;
  /** Handshakes and frames get through. */
  reachable = true;
  /** The socket lives, but nothing arrives any more in either direction. */
  frozen = false;
  userId = "me";
  fate: Fate = () => [LATENCY_MS];
  assigned: string | null = null;
  private readonly timers = new Set<Timer>();
  private nowMs = START_MS;
  private order = 0;
  private uuids = 0;

  constructor(private seed = 1) {
    this.edge = new FakeEdge(() => this.now());
  }

  now(): number {
    return Math.floor(this.nowMs);
  }

  random(): number {
    this.seed = (this.seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return this.seed / 2_147_483_648;
  }

  uuid(): string {
    this.uuids += 1;
    return `00000000-0000-4000-8000-${String(this.uuids).padStart(12, "0")}`;
  }

  setTimer(run: () => void, delayMs: number): Timer {
    const timer = { atMs: this.nowMs + Math.max(0, delayMs), order: (this.order += 1), run };
    this.timers.add(timer);
    return timer;
  }

  clearTimer(timer: unknown): void {
    this.timers.delete(timer as Timer);
  }

  openSocket(url: string, protocols: string[]): Socket {
    this.addresses.push(url);
    const socket = new FakeSocket(this, url, protocols);
    this.sockets.push(socket);
    return socket;
  }

  fetchJson(url: string): Promise<unknown> {
    this.addresses.push(url);
    return this.assigned === null ? Promise.reject(new Error("away")) : Promise.resolve({ url: this.assigned });
  }

  get socket(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (socket === undefined) throw new Error("no socket was opened");
    return socket;
  }

  get timerCount(): number {
    return this.timers.size;
  }

  /** Moves time on, running what falls due in order, and lets promises settle in between. */
  async advance(ms: number): Promise<void> {
    const until = this.nowMs + ms;
    for (;;) {
      await settle();
      const next = [...this.timers].sort((left, right) => left.atMs - right.atMs || left.order - right.order)[0];
      if (next === undefined || next.atMs > until) break;
      this.timers.delete(next);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.run();
    }
    this.nowMs = until;
    await settle();
  }
}

export class FakeSocket implements Socket {
  binaryType = "blob";
  bufferedAmount = 0;
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  closedWith: number | undefined;
  link: Link | null = null;
  private over = false;

  constructor(
    private readonly environment: FakeEnvironment,
    readonly url: string,
    readonly protocols: readonly string[],
  ) {
    environment.setTimer(() => this.shakeHands(), LATENCY_MS);
  }

  send(data: Uint8Array<ArrayBuffer>): void {
    const { environment } = this;
    environment.setTimer(() => {
      if (!this.over && environment.reachable && !environment.frozen && this.link !== null) environment.edge.receive(this.link, data);
    }, LATENCY_MS);
  }

  close(code?: number): void {
    this.closedWith = code;
    this.end();
  }

  /** The other side, or the network, ends it. */
  drop(code = 1006): void {
    if (this.over) return;
    this.end();
    this.onclose?.({ code, reason: "" });
  }

  private shakeHands(): void {
    if (this.over) return;
    if (!this.environment.reachable) {
      this.drop();
      return;
    }
    this.onopen?.({});
    const named = new URL(this.url).searchParams.get("groups")?.split(",") ?? [];
    const { edge, userId } = this.environment;
    this.link = edge.connect(userId, userId, (frame) => this.arrive(frame), named);
  }

  private arrive(frame: Uint8Array<ArrayBuffer>): void {
    for (const delayMs of this.environment.fate(frame)) {
      this.environment.setTimer(() => {
        const { buffer, byteOffset, byteLength } = frame;
        if (!this.over && !this.environment.frozen) this.onmessage?.({ data: buffer.slice(byteOffset, byteOffset + byteLength) });
      }, delayMs);
    }
  }

  private end(): void {
    this.over = true;
    if (this.link !== null) this.environment.edge.disconnect(this.link);
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 8; turn += 1) await Promise.resolve();
}
