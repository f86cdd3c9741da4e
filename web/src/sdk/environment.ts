/** What the SDK takes from its surroundings, so that tests can hold time, chance and the network in their hands. */

/** The part of a browser's WebSocket that is used. */
export interface Socket {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: ((event: unknown) => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
}

export type TimerId = unknown;

export interface Environment {
  /** Milliseconds since 1970. */
  now(): number;
  /** At least 0, below 1. */
  random(): number;
  /** A UUID in its 36-character form. */
  uuid(): string;
  setTimer(run: () => void, delayMs: number): TimerId;
  clearTimer(timer: TimerId): void;
  openSocket(url: string, protocols: string[]): Socket;
  /** GET of a JSON document; rejects on anything but 200 and after `timeoutMs`. */
  fetchJson(url: string, timeoutMs: number): Promise<unknown>;
}

/** The surroundings of a page. */
export function browserEnvironment(): Environment {
  return {
    now: () => Date.now(),
    random: () => Math.random(),
    uuid: randomUuid,
    setTimer: (run, delayMs) => setTimeout(run, delayMs),
    clearTimer: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
    openSocket: (url, protocols) => new WebSocket(url, protocols) as unknown as Socket,
    async fetchJson(url, timeoutMs) {
      const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
      if (!response.ok) throw new Error(`${url} answered ${response.status}`);
      return response.json();
    },
  };
}

/** crypto.randomUUID exists in secure contexts only, and a phone in the same network opens the page over plain http. */
export function randomUuid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
