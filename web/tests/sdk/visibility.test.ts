/** Hidden pages: they count and pull nothing; shown again they catch up in order, once. Online counts. */

import { describe, expect, it } from "vitest";
import { openStage } from "../support/stage";
import type { FakeEdge } from "../support/fake_edge";

function fill(edge: FakeEdge, groupId: string, count: number): void {
  for (let index = 0; index < count; index += 1) edge.say(groupId, "ann", `message ${index}`);
}

function linkOf(edge: FakeEdge) {
  const [link] = [...edge.links];
  if (link === undefined) throw new Error("no link");
  return link;
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

describe("a hidden page", () => {
  it("counts what it hears of and pulls nothing, whatever comes", async () => {
    const { environment, client, session, edge } = await openStage();
    fill(edge, "g", 3);
    await environment.advance(50);
    session.markRead(3);
    client.setHidden(true);
    await environment.advance(50);
    fill(edge, "g", 7);
    await environment.advance(20_000);
    const view = session.view.get();
    expect([view.heldSeq, view.headSeq]).toEqual([3, 10]);
    expect(view.unread).toMatchObject({ count: 7, capped: false });
    fill(edge, "g", 200);
    await environment.advance(20_000);
    expect(session.view.get().unread).toMatchObject({ count: 99, capped: true });
    expect(linkOf(edge).pulls ?? 0).toBe(0);
  });

  it("catches up to the head in order, once, when it is shown, and goes on with blocks", async () => {
    const { environment, client, session, edge } = await openStage();
    fill(edge, "g", 3);
    await environment.advance(50);
    client.setHidden(true);
    await environment.advance(50);
    fill(edge, "g", 300);
    await environment.advance(5_000);
    const growth: number[] = [];
    session.view.subscribe((view) => growth.push(view.heldSeq));
    client.setHidden(false);
    fill(edge, "g", 2);
    await environment.advance(500);
    fill(edge, "g", 2);
    await environment.advance(50);
    const view = session.view.get();
    expect(view.entries.map((entry) => entry.seq)).toEqual(range(1, 307));
    expect(growth).toEqual([...growth].sort((a, b) => a - b));
    expect(linkOf(edge).pulls).toBe(2);
    expect(view.unread).toMatchObject({ count: 99, capped: true });
  });

  it("counts exactly again once it has caught up: own and recalled messages are none", async () => {
    const { environment, client, session, edge } = await openStage();
    fill(edge, "g", 3);
    await environment.advance(50);
    session.markRead(3);
    client.setHidden(true);
    await environment.advance(50);
    fill(edge, "g", 4);
    edge.recall("g", "ann", 5);
    edge.say("g", client.userId.get(), "from my other phone");
    await environment.advance(5_000);
    expect(session.view.get().unread.count).toBe(6);
    client.setHidden(false);
    await environment.advance(500);
    expect(session.view.get().unread).toMatchObject({ count: 3, capped: false });
  });

  it("that loses its connection comes back hidden, and has everything when it is shown", async () => {
    const { environment, client, session, edge } = await openStage();
    fill(edge, "g", 3);
    await environment.advance(50);
    client.setHidden(true);
    await environment.advance(50);
    environment.socket.drop();
    fill(edge, "g", 5);
    await environment.advance(20_000);
    expect(linkOf(edge).hidden).toBe(true);
    fill(edge, "g", 5);
    await environment.advance(5_000);
    expect(linkOf(edge).pulls ?? 0).toBe(0);
    client.setHidden(false);
    await environment.advance(500);
    expect(session.view.get().entries.map((entry) => entry.seq)).toEqual(range(1, 13));
  });
});

describe("online counts", () => {
  it("come with the group and change as they are told", async () => {
    const { environment, session, edge } = await openStage();
    expect(session.view.get().online).toBeNull();
    edge.tell(linkOf(edge), 0n, { case: "online", value: { groupId: "g", count: 1_000_000n } });
    await environment.advance(50);
    expect(session.view.get().online).toBe(1_000_000);
    edge.online = 7;
    environment.socket.drop();
    await environment.advance(20_000);
    expect(session.view.get().online).toBe(7);
  });
});
