/** One connection kept up: jitter and bounds, close codes, tokens, liveness, drain, assignment. */

import { describe, expect, it } from "vitest";
import { CLOSE_CODES, reconnectRule } from "../../src/sdk/close_codes";
import type { TokenReason } from "../../src/sdk";
import { openStage, stage } from "../support/stage";

describe("opening", () => {
  it("offers the protobuf subprotocol with the token and enters the open group by the address", async () => {
    const { environment, session } = await openStage("tea");
    expect(environment.socket.protocols).toEqual(["throng.v1.protobuf", "bearer.a.token.b"]);
    expect(environment.socket.url).toBe("ws://edge.test/ws?delivery=inline&groups=tea");
    expect(session.view.get().phase).toBe("ready");
  });

  it("asks which edge to take and appends /ws to it", async () => {
    const { environment, client } = stage({ assignUrl: "/v1/assign" });
    environment.assigned = "wss://edge-7.test:9000";
    client.start();
    await environment.advance(50);
    expect(environment.addresses[0]).toBe("/v1/assign");
    expect(environment.socket.url.startsWith("wss://edge-7.test:9000/ws?")).toBe(true);
  });

  it("takes the known address when nobody assigns, or when the assigned edge cannot be reached", async () => {
    const { environment, client } = stage({ assignUrl: "/v1/assign" });
    client.start();
    await environment.advance(50);
    expect(environment.socket.url.startsWith("ws://edge.test/ws?")).toBe(true);

    const other = stage({ assignUrl: "/v1/assign" });
    other.environment.assigned = "ws://unreachable.test";
    other.environment.reachable = false;
    other.client.start();
    await other.environment.advance(3_000);
    const hosts = other.environment.sockets.map((socket) => new URL(socket.url).host);
    expect(hosts.slice(0, 2)).toEqual(["unreachable.test", "edge.test"]);
  });

  it("gives up a handshake that nobody answers", async () => {
    const { environment, client } = stage();
    environment.frozen = true;
    client.start();
    await environment.advance(9_000);
    expect(client.state.get().phase).toBe("connecting");
    await environment.advance(1_100);
    expect(environment.sockets[0]?.closedWith).toBe(1000);
  });

  it("waits for a token that cannot be had now, and stops when there is none to be had", async () => {
    let answer: () => Promise<string | null> = () => Promise.reject(new Error("away"));
    const { environment, client } = stage({ token: () => answer() });
    client.start();
    await environment.advance(20);
    expect(client.state.get().phase).toBe("waiting");
    answer = () => Promise.resolve(null);
    await environment.advance(20_000);
    expect(client.state.get()).toMatchObject({ phase: "stopped", reason: "signed_out" });
  });
});

describe("coming back", () => {
  it("waits a random part of a bound that doubles up to the largest that the edge gave", async () => {
    const { environment, client } = await openStage();
    environment.reachable = false;
    environment.random = () => 0.999;
    environment.socket.drop();
    const waits: number[] = [];
    for (let attempt = 0; attempt < 6; attempt += 1) {
      const state = client.state.get();
      if (state.phase !== "waiting") throw new Error(state.phase);
      const waitMs = state.retryAtMs - environment.now();
      waits.push(waitMs);
      // The handshake fails after the latency of 5 ms, and the next wait begins.
      await environment.advance(waitMs + 5);
    }
    expect(waits).toEqual([99, 199, 399, 799, 999, 999]);
  });

  it("starts from the first bound again after a connection that held", async () => {
    const { environment, client } = await openStage();
    environment.random = () => 0.999;
    for (const stableMs of [0, 0, 6_000]) {
      await environment.advance(stableMs);
      environment.socket.drop();
      const state = client.state.get();
      const waitMs = state.phase === "waiting" ? state.retryAtMs - environment.now() : -1;
      expect(waitMs).toBe(stableMs === 0 ? (waitMs === 99 ? 99 : 199) : 99);
      await environment.advance(waitMs + 50);
      expect(client.state.get().phase).toBe("online");
    }
  });

  it.each(CLOSE_CODES)("follows the rule of $code $name", async ({ code, reconnect }) => {
    const reasons: TokenReason[] = [];
    const token = (reason: TokenReason) => {
      reasons.push(reason);
      return Promise.resolve("t");
    };
    const { environment, client } = await openStage("g", { token });
    environment.socket.drop(code);
    expect(client.state.get().phase).toBe(reconnect === "never" ? "stopped" : "waiting");
    await environment.advance(30_000);
    expect(client.state.get().phase).toBe(reconnect === "never" ? "stopped" : "online");
    expect(reasons).toEqual(reconnect === "new_token" ? ["start", "expired"] : ["start"]);
  });

  it("knows codes of the future by their range", () => {
    expect([4050, 4150, 4250, 1006, 3000].map(reconnectRule)).toEqual(["backoff", "new_token", "never", "backoff", "backoff"]);
  });

  it("asks for another token when handshakes keep failing, for a browser is not told why", async () => {
    const reasons: TokenReason[] = [];
    const token = (reason: TokenReason) => {
      reasons.push(reason);
      return Promise.resolve("t");
    };
    const { environment, client } = stage({ token });
    environment.reachable = false;
    client.start();
    await environment.advance(20_000);
    expect(reasons.slice(0, 2)).toEqual(["start", "refused"]);
  });

  it("does not offer a token that has expired", async () => {
    const reasons: TokenReason[] = [];
    const { environment, client } = stage({
      token: (reason) => {
        reasons.push(reason);
        const claims = { exp: environment.now() / 1000 + 60 };
        return Promise.resolve(`h.${btoa(JSON.stringify(claims))}.s`);
      },
    });
    client.start();
    await environment.advance(50);
    await environment.advance(61_000);
    environment.socket.drop();
    await environment.advance(1_000);
    expect(reasons).toEqual(["start", "expired"]);
    expect(client.state.get().phase).toBe("online");
  });

  it("tries at once when the network is back", async () => {
    const { environment, client } = await openStage();
    environment.reachable = false;
    environment.random = () => 0.999;
    environment.socket.drop();
    await environment.advance(5_000);
    environment.reachable = true;
    client.setNetwork({ available: true });
    await environment.advance(30);
    expect(client.state.get().phase).toBe("online");
  });
});

describe("liveness", () => {
  it("finds out that a connection is dead when the page comes back, and replaces it", async () => {
    const { environment, client } = await openStage();
    client.setHidden(true);
    environment.frozen = true;
    await environment.advance(1_000);
    client.setHidden(false);
    await environment.advance(3_100);
    expect(client.state.get().phase).not.toBe("online");
    environment.frozen = false;
    // The attempt made while nothing arrived is given up after 10 s.
    await environment.advance(12_000);
    expect(client.state.get().phase).toBe("online");
  });

  it("leaves a connection alone that answers", async () => {
    const { environment, client } = await openStage();
    client.setHidden(true);
    client.setHidden(false);
    await environment.advance(200_000);
    expect(client.state.get().phase).toBe("online");
    expect(environment.sockets.length).toBe(1);
  });

  it("asks when nothing was heard for a heartbeat, and does not wait for ever", async () => {
    const { environment, client } = await openStage();
    environment.frozen = true;
    await environment.advance(30_000 + 60_000 + 11_000);
    expect(environment.sockets.length).toBeGreaterThan(1);
    expect(client.state.get().phase).not.toBe("online");
  });
});

describe("drain", () => {
  it("leaves after the time it was given and comes back without a further wait", async () => {
    const { environment, client, edge } = await openStage();
    const [link] = [...edge.links];
    if (link === undefined) throw new Error("no link");
    edge.tell(link, 0n, { case: "drain", value: { reconnectAfterMs: 700 } });
    await environment.advance(600);
    expect(environment.sockets.length).toBe(1);
    expect(client.state.get().phase).toBe("online");
    await environment.advance(150);
    expect(environment.sockets.length).toBe(2);
    await environment.advance(50);
    expect(client.state.get().phase).toBe("online");
  });
});

it("ends for good when it is stopped, and leaves no timer behind", async () => {
  const { environment, client } = await openStage();
  client.stop();
  await environment.advance(20);
  expect(client.state.get().phase).toBe("stopped");
  expect(environment.timerCount).toBe(0);
});
