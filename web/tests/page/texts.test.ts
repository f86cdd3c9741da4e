/** Words for refusals in both languages. */

import { describe, expect, it } from "vitest";
import { textsFor, refusalText, refusalWords } from "../../src/page/texts";
import { ErrorCode } from "../../src/sdk";

const busy = { code: ErrorCode.GROUP_BUSY, text: "", retryAfterMs: 6_200 };

describe("words for refusals", () => {
  it("tell a busy group, a lost lot and slow mode apart, in both languages", () => {
    for (const language of ["en", "zh-CN"]) {
      const texts = textsFor(language);
      const words = [
        refusalWords(texts, busy),
        refusalWords(texts, { ...busy, reason: "not_chosen" }),
        refusalWords(texts, { ...busy, code: ErrorCode.RATE_LIMITED }),
        refusalWords(texts, { ...busy, code: ErrorCode.RATE_LIMITED, reason: "slow_mode" }),
      ];
      expect(new Set(words).size).toBe(4);
      expect(words.every((each) => each.length > 4)).toBe(true);
    }
  });

  it("name the seconds", () => {
    expect(refusalText(textsFor("en"), busy)).toMatch(/Try again in 7 s\.$/);
    expect(refusalText(textsFor("zh"), busy)).toContain("7");
    expect(textsFor("zh").slowModeWait(12)).toContain("12");
  });
});
