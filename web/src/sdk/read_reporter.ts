/** Reports how far the user has read in one group: once for all that was read within a moment (hop 8). */

import type { Environment, TimerId } from "./environment";
import type { Requests } from "./requests";

const REPORT_AFTER_MS = 800;

/** The group whose reading is reported. */
export interface ReadGroup {
  readonly groupId: string;
  readonly ready: boolean;
  readonly readSeq: number;
}

export class ReadReporter {
  private reportedSeq = 0;
  private timer: TimerId = null;

  constructor(
    private readonly group: ReadGroup,
    private readonly environment: Environment,
    private readonly requests: Requests,
  ) {}

  /** The server knows of what was read up to `readSeq`; what was read beyond it is reported. */
  onKnown(readSeq: number): void {
    this.reportedSeq = readSeq;
    if (this.group.readSeq > readSeq) this.reportLater();
  }

  reportLater(): void {
    this.timer ??= this.environment.setTimer(() => this.report(), REPORT_AFTER_MS);
  }

  /** Reports at once, if there is something to report. */
  report(): void {
    this.stopTimer();
    const { groupId, ready, readSeq } = this.group;
    if (readSeq <= this.reportedSeq || !ready) return;
    this.reportedSeq = readSeq;
    this.requests.tell({ kind: "report_read", groupId, readSeq });
  }

  stopTimer(): void {
    this.environment.clearTimer(this.timer);
    this.timer = null;
  }
}
