/** Slow mode and over-budget refusals: what the user is told, and when trying again makes sense. */

import { describe, expect, it } from "vitest";
import { ErrorCode, Role } from "../../src/sdk";
import { OverBudget } from "../../src/sdk/types";
import { openStage, stage } from "../support/stage";

async function slowStage(sendIntervalMs: number, role = Role.MEMBER) {
  const { environment, client } = stage();
  environment.edge.sendIntervalMs = sendIntervalMs;
  environment.edge.role = role;
  const session = client.open("g");
  client.start();
  await environment.advance(100);
  const waitMs = () => Math.max(0, session.view.get().sendableAtMs - environment.now());
  return { environment, client, session, edge: environment.edge, waitMs };
}

describe("slow mode", () => {
  it("says from the own message on when the next may go out", async () => {
    const { environment, client, waitMs } = await slowStage(30_000);
    expect(waitMs()).toBe(0);
    client.send("g", "one");
    await environment.advance(50);
    expect(waitMs()).toBe(29_950);
    await environment.advance(30_000);
    expect(waitMs()).toBe(0);
  });

  it("is told while it is in use, both ways", async () => {
    const { environment, client, edge, waitMs } = await slowStage(1_000);
    client.send("g", "one");
    await environment.advance(50);
    expect(waitMs()).toBe(0);
    edge.sendIntervalMs = 60_000;
    edge.tellChanged("g");
    await environment.advance(10);
    expect(waitMs()).toBeGreaterThan(59_000);
    edge.sendIntervalMs = 0;
    edge.tellChanged("g");
    await environment.advance(10);
    expect(waitMs()).toBe(0);
  });

  it("does not count down for owner and administrators", async () => {
    for (const role of [Role.OWNER, Role.ADMINISTRATOR]) {
      const { environment, client, waitMs } = await slowStage(30_000, role);
      client.send("g", "one");
      await environment.advance(50);
      expect(waitMs()).toBe(0);
    }
  });

  it("believes the server, and a refused message starts no interval", async () => {
    const { environment, client, session, edge, waitMs } = await slowStage(30_000);
    edge.refuse = ErrorCode.RATE_LIMITED;
    edge.retryAfterMs = 12_000;
    client.send("g", "too early, by another device of mine");
    await environment.advance(50);
    expect(waitMs()).toBeGreaterThan(11_000);
    expect(waitMs()).toBeLessThanOrEqual(12_000);
    const { refusal } = session.view.get().entries[0] ?? {};
    expect(refusal).toMatchObject({ code: ErrorCode.RATE_LIMITED, reason: "slow_mode" });
    edge.refuse = ErrorCode.BLOCKED_CONTENT;
    edge.retryAfterMs = 0;
    await environment.advance(12_000);
    client.send("g", "bad words");
    await environment.advance(50);
    expect(waitMs()).toBe(0);
  });

  it("counts a message that goes out again from the first time", async () => {
    const { environment, client, edge, waitMs } = await slowStage(30_000);
    edge.swallowAcks = true;
    edge.silent = true;
    client.send("g", "one");
    await environment.advance(10_000);
    environment.socket.drop();
    await environment.advance(5_000);
    expect(edge.group("g").messages.length).toBe(1);
    expect(waitMs()).toBeLessThan(16_000);
  });
});

describe("over the budget", () => {
  it("keeps the message unsent until the user tries again, and knows from when on", async () => {
    const { environment, client, session, edge } = await openStage();
    edge.refuse = ErrorCode.GROUP_BUSY;
    edge.retryAfterMs = 7_000;
    const id = client.send("g", "in the storm") ?? "";
    await environment.advance(50);
    const [entry] = session.view.get().entries;
    expect(entry).toMatchObject({ state: "failed", content: { text: "in the storm" }, refusal: { code: ErrorCode.GROUP_BUSY } });
    expect(entry?.refusal?.reason).toBeUndefined();
    expect((entry?.retryAtMs ?? 0) - environment.now()).toBeGreaterThan(6_000);
    edge.refuse = null;
    await environment.advance(60_000);
    expect(session.view.get().entries[0]?.state).toBe("failed");
    client.retry("g", id);
    await environment.advance(50);
    expect(session.view.get().entries).toMatchObject([{ state: "sent", clientMsgId: id, refusal: null, retryAtMs: 0 }]);
  });

  it("tells a lot that was lost from a group that is merely busy", async () => {
    const { environment, client } = stage();
    environment.edge.overBudget = OverBudget.SAMPLE;
    const session = client.open("g");
    client.start();
    await environment.advance(100);
    environment.edge.refuse = ErrorCode.GROUP_BUSY;
    client.send("g", "in the storm");
    await environment.advance(50);
    expect(session.view.get().entries).toMatchObject([{ state: "failed", refusal: { reason: "not_chosen" } }]);
  });
});
