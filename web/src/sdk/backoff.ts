/** Full jitter: wait = random(0, min(max, base * 2^attempt)), with bounds that the server gives. */

export class Backoff {
  private attempt = 0;

  constructor(
    private readonly random: () => number,
    private baseMs: number,
    private maxMs: number,
  ) {}

  /** Takes the bounds of a `welcome`; zeros change nothing. */
  setBounds(baseMs: number, maxMs: number): void {
    if (baseMs > 0) this.baseMs = baseMs;
    if (maxMs > 0) this.maxMs = Math.max(maxMs, this.baseMs);
  }

  /** The next wait in milliseconds; each call widens the next bound. */
  next(): number {
    const bound = Math.min(this.maxMs, this.baseMs * 2 ** this.attempt);
    this.attempt = Math.min(this.attempt + 1, 30);
    return Math.floor(this.random() * bound);
  }

  reset(): void {
    this.attempt = 0;
  }
}
