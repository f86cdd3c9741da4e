/** Writing: shown at once, ACKed, refused, retried, kept over a reconnect (I2, I3, I4 as the client sees them). */

import { describe, expect, it } from "vitest";
import { ErrorCode } from "../../src/sdk";
import { MAX_OUTGOING } from "../../src/sdk/outgoing";
import { openStage } from "../support/stage";

describe("writing", () => {
  it("shows an own message at once and gives it its seq where it stands", async () => {
    const { environment, client, session } = await openStage();
    client.send("g", "hello");
    expect(session.view.get().entries).toMatchObject([{ seq: 0, state: "sending", content: { kind: "text", text: "hello" } }]);
    const key = session.view.get().entries[0]?.key;
    await environment.advance(50);
    expect(session.view.get().entries).toMatchObject([{ key, seq: 1, state: "sent" }]);
  });

  it("appends others after it, also when they were numbered before it", async () => {
    const { environment, client, session, edge } = await openStage();
    client.send("g", "mine");
    edge.say("g", "ann", "was first");
    await environment.advance(100);
    expect(session.view.get().entries.map((entry) => [entry.senderId, entry.seq])).toEqual([
      ["me", 2],
      ["ann", 1],
    ]);
  });

  it("takes a block with its own id for an ACK that was lost", async () => {
    const { environment, client, session, edge } = await openStage();
    edge.swallowAcks = true;
    client.send("g", "hello");
    await environment.advance(60_000);
    expect(session.view.get().entries).toMatchObject([{ seq: 1, state: "sent" }]);
    expect(edge.group("g").messages.length).toBe(1);
  });

  it("pulls what an ACK announced when its block does not come", async () => {
    const { environment, client, session, edge } = await openStage();
    edge.silent = true;
    edge.say("g", "ann", "unseen");
    client.send("g", "mine");
    await environment.advance(1_000);
    expect(session.view.get().heldSeq).toBe(0);
    await environment.advance(2_000);
    expect(session.view.get().heldSeq).toBe(2);
  });

  it("leaves a refused message for the user to retry, with the same id (I2)", async () => {
    const { environment, client, session, edge } = await openStage();
    edge.refuse = ErrorCode.RATE_LIMITED;
    const id = client.send("g", "too fast") ?? "";
    await environment.advance(30_000);
    const refused = { state: "failed", refusal: { code: ErrorCode.RATE_LIMITED, retryAfterMs: 1_000 } };
    expect(session.view.get().entries).toMatchObject([refused]);
    edge.refuse = null;
    client.retry("g", id);
    await environment.advance(50);
    expect(session.view.get().entries).toMatchObject([{ state: "sent", seq: 1, clientMsgId: id, refusal: null }]);
  });

  it("retries by itself what was away for a moment, and gives up in the end", async () => {
    const { environment, client, session, edge } = await openStage();
    edge.refuse = ErrorCode.UNAVAILABLE;
    client.send("g", "one");
    await environment.advance(1_500);
    expect(session.view.get().entries[0]?.state).toBe("sending");
    edge.refuse = null;
    await environment.advance(5_000);
    expect(session.view.get().entries[0]?.state).toBe("sent");

    edge.refuse = ErrorCode.UNAVAILABLE;
    client.send("g", "two");
    await environment.advance(120_000);
    expect(session.view.get().entries[1]?.state).toBe("failed");
  });

  it("makes a new id when the server says that the old one is spent", async () => {
    const { environment, client, session, edge } = await openStage();
    edge.refuse = ErrorCode.CLIENT_MSG_ID_REUSED;
    const id = client.send("g", "again") ?? "";
    await environment.advance(50);
    edge.refuse = null;
    client.retry("g", id);
    await environment.advance(50);
    const { entries } = session.view.get();
    expect(entries).toMatchObject([{ state: "sent", content: { text: "again" } }]);
    expect(entries[0]?.clientMsgId).not.toBe(id);
  });

  it("lets the user remove what failed", async () => {
    const { environment, client, session, edge } = await openStage();
    edge.refuse = ErrorCode.BLOCKED_CONTENT;
    const id = client.send("g", "bad") ?? "";
    await environment.advance(50);
    session.discard(id);
    expect(session.view.get().entries).toEqual([]);
  });

  it("takes no more than it can keep", async () => {
    const { environment, client, session } = await openStage();
    environment.reachable = false;
    environment.socket.drop();
    for (let index = 0; index < MAX_OUTGOING; index += 1) expect(client.send("g", `${index}`)).not.toBeNull();
    expect(client.send("g", "one too many")).toBeNull();
    expect(session.view.get().entries.length).toBe(MAX_OUTGOING);
  });
});

describe("over a reconnect", () => {
  it("sends again what has no ACK, in order, each once (I2, I4)", async () => {
    const { environment, client, session, edge } = await openStage();
    edge.swallowAcks = true;
    edge.silent = true;
    client.send("g", "stored, ACK lost");
    await environment.advance(50);
    environment.reachable = false;
    environment.socket.drop();
    client.send("g", "written away, first");
    client.send("g", "written away, second");
    expect(session.view.get().entries.map((entry) => entry.state)).toEqual(["sending", "sending", "sending"]);
    edge.swallowAcks = false;
    edge.silent = false;
    environment.reachable = true;
    await environment.advance(5_000);
    const stored = edge.group("g").messages.map((message) => (message.content.case === "text" ? message.content.value.text : ""));
    expect(stored).toEqual(["stored, ACK lost", "written away, first", "written away, second"]);
    expect(session.view.get().entries.map((entry) => [entry.seq, entry.state])).toEqual([
      [1, "sent"],
      [2, "sent"],
      [3, "sent"],
    ]);
  });

  it("keeps what was written away below what was missed, for it is numbered later", async () => {
    const { environment, client, session, edge } = await openStage();
    environment.reachable = false;
    environment.socket.drop();
    client.send("g", "written away");
    edge.say("g", "ann", "missed");
    environment.reachable = true;
    await environment.advance(5_000);
    expect(session.view.get().entries.map((entry) => [entry.seq, entry.senderId])).toEqual([
      [1, "ann"],
      [2, "me"],
    ]);
  });

  it("fails what waits when there will be no connection", async () => {
    const { environment, client, session } = await openStage();
    environment.reachable = false;
    environment.socket.drop();
    client.send("g", "never");
    client.stop();
    expect(session.view.get().entries[0]?.state).toBe("failed");
  });
});
