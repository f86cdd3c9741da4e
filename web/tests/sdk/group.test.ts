/** One group: blocks, notices, gaps, resuming, epochs, history, recalls, unread counts. */

import { describe, expect, it } from "vitest";
import { Delivery } from "../../src/gen/throng/common/v1/group_pb";
import type { GroupView, Refusal } from "../../src/sdk";
import { openStage, stage } from "../support/stage";
import type { FakeEdge } from "../support/fake_edge";

function seqs(view: GroupView): number[] {
  return view.entries.map((entry) => entry.seq);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

function fill(edge: FakeEdge, groupId: string, count: number, sender = "ann"): void {
  for (let index = 0; index < count; index += 1) edge.say(groupId, sender, `message ${index}`);
}

function linkOf(edge: FakeEdge) {
  const [link] = [...edge.links];
  if (link === undefined) throw new Error("no link");
  return link;
}

describe("receiving", () => {
  it("appends a block that follows what is held", async () => {
    const { environment, session, edge } = await openStage();
    fill(edge, "g", 3);
    await environment.advance(50);
    expect(seqs(session.view.get())).toEqual([1, 2, 3]);
  });

  it("pulls the gap before a block that does not, once, and keeps the block", async () => {
    const { environment, session, edge } = await openStage();
    edge.silent = true;
    fill(edge, "g", 9);
    edge.silent = false;
    fill(edge, "g", 1);
    await environment.advance(50);
    expect(seqs(session.view.get())).toEqual(range(1, 10));
  });

  it("pulls on a notice", async () => {
    const { environment, session, edge } = await openStage();
    edge.silent = true;
    fill(edge, "g", 450);
    edge.announceHeads();
    await environment.advance(200);
    expect(session.view.get().heldSeq).toBe(450);
    expect(seqs(session.view.get())).toEqual(range(1, 450));
  });

  it("drops duplicates", async () => {
    const { environment, session, edge } = await openStage();
    fill(edge, "g", 5);
    edge.deliver(linkOf(edge), "g", 2, 4);
    edge.deliver(linkOf(edge), "g", 1, 5);
    await environment.advance(50);
    expect(seqs(session.view.get())).toEqual(range(1, 5));
  });

  it("takes the newest page instead of pulling thousands", async () => {
    const { environment, session, edge } = await openStage();
    fill(edge, "g", 3);
    await environment.advance(50);
    edge.silent = true;
    fill(edge, "g", 3_000);
    edge.announceHeads();
    await environment.advance(500);
    expect(session.view.get().heldSeq).toBe(3_003);
    expect(seqs(session.view.get())).toEqual(range(2_954, 3_003));
    expect(session.view.get().hasOlder).toBe(true);
  });
});

describe("resuming", () => {
  it("comes back with its position and gets what it missed (I6)", async () => {
    const { environment, session, edge } = await openStage();
    fill(edge, "g", 5);
    await environment.advance(50);
    environment.reachable = false;
    environment.socket.drop();
    fill(edge, "g", 20);
    environment.reachable = true;
    await environment.advance(3_000);
    expect(seqs(session.view.get())).toEqual(range(1, 25));
  });

  it("shows the newest resume token when it comes back", async () => {
    const { environment, edge } = await openStage();
    const shown = edge.resumeTokensShown.length;
    environment.socket.drop();
    await environment.advance(20_000);
    expect(edge.resumeTokensShown.slice(shown)).toEqual([expect.stringMatching(/^token \d+$/)]);
    edge.refreshToken("g", "fresh");
    await environment.advance(50);
    environment.socket.drop();
    await environment.advance(20_000);
    expect(edge.resumeTokensShown.at(-1)).toBe("fresh");
  });

  it("drops what it holds when more than a page was missed, and offers the rest as history", async () => {
    const { environment, session, edge } = await openStage();
    fill(edge, "g", 5);
    await environment.advance(50);
    environment.reachable = false;
    environment.socket.drop();
    fill(edge, "g", 500);
    environment.reachable = true;
    await environment.advance(3_000);
    expect(seqs(session.view.get())).toEqual(range(456, 505));
  });

  it.each(["while connected", "while away"])("starts anew when the epoch changed %s", async (when) => {
    const { environment, session, edge } = await openStage();
    fill(edge, "g", 8);
    await environment.advance(50);
    const group = edge.group("g");
    if (when === "while away") environment.socket.drop();
    group.epoch = 2;
    group.messages = [];
    edge.silent = true;
    fill(edge, "g", 2, "bob");
    edge.silent = false;
    fill(edge, "g", 1, "bob");
    await environment.advance(5_000);
    expect(seqs(session.view.get())).toEqual([1, 2, 3]);
    expect(session.view.get().entries.every((entry) => entry.senderId === "bob")).toBe(true);
  });
});

describe("history", () => {
  it("loads older pages down to the first message, once each", async () => {
    const { environment, client } = stage();
    fill(environment.edge, "g", 120);
    const session = client.open("g");
    client.start();
    await environment.advance(100);
    expect(seqs(session.view.get())).toEqual(range(71, 120));
    for (const expected of [21, 1]) {
      session.loadOlder();
      session.loadOlder();
      expect(session.view.get().loadingOlder).toBe(true);
      await environment.advance(50);
      expect(seqs(session.view.get())).toEqual(range(expected, 120));
    }
    expect(session.view.get().hasOlder).toBe(false);
  });
});

describe("recalling and deleting", () => {
  it("blanks the target and shows the event", async () => {
    const { environment, session, edge } = await openStage();
    fill(edge, "g", 3);
    edge.recall("g", "ann", 2);
    await environment.advance(50);
    const { entries } = session.view.get();
    expect(entries[1]).toMatchObject({ seq: 2, recalledBySeq: 4, content: { kind: "none" } });
    expect(entries[3]).toMatchObject({ seq: 4, content: { kind: "recall", targetSeq: 2 } });
  });

  it("recalls an own message", async () => {
    const { environment, client, session } = await openStage();
    client.send("g", "a slip");
    await environment.advance(50);
    const answers: (Refusal | null)[] = [];
    session.recall(1, (refusal) => answers.push(refusal));
    await environment.advance(50);
    expect(answers).toEqual([null]);
    expect(session.view.get().entries[0]).toMatchObject({ recalledBySeq: 2, content: { kind: "none" } });
  });

  it("hides what was deleted for oneself, also after coming back", async () => {
    const { environment, session, edge } = await openStage();
    fill(edge, "g", 3);
    await environment.advance(50);
    session.deleteForMe(2, () => undefined);
    await environment.advance(50);
    expect(seqs(session.view.get())).toEqual([1, 3]);
    environment.socket.drop();
    await environment.advance(2_000);
    fill(edge, "g", 1);
    await environment.advance(50);
    expect(seqs(session.view.get())).toEqual([1, 3, 4]);
    expect(session.view.get().heldSeq).toBe(4);
  });
});

describe("unread (I7)", () => {
  it("counts others, not oneself, not recalled ones, and is nothing when all is read", async () => {
    const { environment, client, session, edge } = await openStage();
    fill(edge, "g", 4);
    client.send("g", "mine");
    edge.recall("g", "ann", 3);
    await environment.advance(100);
    expect(session.view.get().unread).toMatchObject({ count: 3, capped: false });
    session.markRead(session.view.get().heldSeq);
    expect(session.view.get().unread.count).toBe(0);
    await environment.advance(1_000);
    expect(edge.group("g").read.get("me")).toBe(6);
  });

  it("is capped at 99", async () => {
    const { environment, session, edge } = await openStage();
    fill(edge, "g", 99);
    await environment.advance(100);
    expect(session.view.get().unread).toMatchObject({ count: 99, capped: false });
    fill(edge, "g", 1);
    await environment.advance(100);
    expect(session.view.get().unread).toMatchObject({ count: 99, capped: true });
  });

  it("adds what comes to the server's count when the beginning is not held", async () => {
    const { environment, client } = stage();
    const { edge } = environment;
    fill(edge, "g", 80);
    const session = client.open("g");
    client.start();
    await environment.advance(100);
    expect(session.view.get().unread.count).toBe(80);
    fill(edge, "g", 5);
    await environment.advance(100);
    expect(session.view.get().unread.count).toBe(85);
    session.markRead(83);
    expect(session.view.get().unread.count).toBe(2);
  });

  it("reports only what is held, and only forwards", async () => {
    const { environment, session, edge } = await openStage();
    fill(edge, "g", 5);
    await environment.advance(50);
    session.markRead(500);
    session.markRead(2);
    await environment.advance(1_000);
    expect(edge.group("g").read.get("me")).toBe(5);
  });
});

describe("the list", () => {
  it("enters groups in the background by notices, with previews and counts, and opens one by blocks", async () => {
    const { environment, client } = stage();
    const { edge } = environment;
    for (const id of ["a", "b", "c"]) fill(edge, id, 2);
    client.start();
    await environment.advance(200);
    const rows = client.groupList.view.get().rows;
    expect(rows.map((row) => [row.groupId, row.unread?.count, row.last?.seq])).toEqual([
      ["a", 2, 2],
      ["b", 2, 2],
      ["c", 2, 2],
    ]);
    expect([...linkOf(edge).entered.values()]).toEqual([Delivery.NOTIFY, Delivery.NOTIFY, Delivery.NOTIFY]);
    fill(edge, "b", 1);
    await environment.advance(2_000);
    expect(client.groupList.view.get().rows[0]).toMatchObject({ groupId: "b", unread: { count: 3 } });
    client.open("b");
    await environment.advance(50);
    expect(linkOf(edge).entered.get("b")).toBe(Delivery.INLINE);
    client.open("a");
    await environment.advance(50);
    expect(linkOf(edge).entered.get("b")).toBe(Delivery.NOTIFY);
  });

  it("forgets a group from which one was removed, and does not join it again by itself", async () => {
    const { environment, client, session, edge } = await openStage();
    fill(edge, "g", 2);
    await environment.advance(50);
    const link = linkOf(edge);
    link.entered.delete("g");
    edge.tell(link, 0n, { case: "groupEvent", value: { groupId: "g", event: { case: "removed", value: {} } } });
    edge.groups.delete("g");
    await environment.advance(50);
    expect(session.view.get()).toMatchObject({ phase: "removed", entries: [] });
    expect(client.groupList.view.get().rows).toEqual([]);
    environment.socket.drop();
    await environment.advance(3_000);
    expect(linkOf(edge).entered.has("g")).toBe(false);
  });
});
