/** Requests that wait for their answer by request_id: at most 256, each with a deadline, none left without an outcome. */

import type { Environment, TimerId } from "./environment";
import { ErrorCode, type ClientRequest, type Refusal, type ServerEvent } from "./types";

/** An answer, or why there is none. */
export type Outcome = { readonly event: ServerEvent } | { readonly refusal: Refusal };

interface Waiting {
  readonly done: (outcome: Outcome) => void;
  readonly timer: TimerId;
}

const MAX_WAITING = 256;

export class Requests {
  private readonly waiting = new Map<number, Waiting>();
  private lastId = 0;

  /** `transmit` returns whether the connection took the frame. */
  constructor(
    private readonly environment: Environment,
    private readonly transmit: (request: ClientRequest, requestId: number) => boolean,
  ) {}

  /** Sends a request; `done` is called exactly once. */
  call(request: ClientRequest, timeoutMs: number, done: (outcome: Outcome) => void): void {
    const requestId = (this.lastId += 1);
    if (this.waiting.size >= MAX_WAITING || !this.transmit(request, requestId)) {
      done({ refusal: localRefusal(ErrorCode.UNAVAILABLE, "not connected") });
      return;
    }
    const timer = this.environment.setTimer(() => {
      this.waiting.delete(requestId);
      done({ refusal: localRefusal(ErrorCode.DEADLINE_EXCEEDED, "no answer in time") });
    }, timeoutMs);
    this.waiting.set(requestId, { done, timer });
  }

  /** Sends a request whose answer nobody waits for; returns whether the connection took it. */
  tell(request: ClientRequest): boolean {
    return this.transmit(request, 0);
  }

  /** Gives an answer to the one who asked; returns whether anybody did. */
  settle(requestId: number, event: ServerEvent): boolean {
    const waiting = this.waiting.get(requestId);
    if (waiting === undefined) return false;
    this.waiting.delete(requestId);
    this.environment.clearTimer(waiting.timer);
    if (event.kind === "failure") waiting.done({ refusal: event.failure });
    else if (event.kind === "reject") waiting.done({ refusal: event.reject });
    else waiting.done({ event });
    return true;
  }

  /** The connection is gone: nothing that waits will be answered. */
  failAll(): void {
    const all = [...this.waiting.values()];
    this.waiting.clear();
    for (const waiting of all) {
      this.environment.clearTimer(waiting.timer);
      waiting.done({ refusal: localRefusal(ErrorCode.UNAVAILABLE, "the connection was lost") });
    }
  }
}

/** A refusal that did not come from a server. */
export function localRefusal(code: ErrorCode, text: string): Refusal {
  return { code, text, retryAfterMs: 0 };
}
