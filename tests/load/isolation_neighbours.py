"""The neighbours of the edges of `bench_edge_isolation.py`: groups with a history, and who publishes to them."""

from __future__ import annotations

import os
import pathlib
import random
import sys
import threading
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from edge_neighbours import Delivery, FakeGroups, Neighbours  # noqa: E402

from throng.api.common.v1 import group_pb2, message_pb2  # noqa: E402
from throng.api.edge.v1 import edge_pb2  # noqa: E402
from throng.api.group.v1 import group_pb2 as service_pb2  # noqa: E402
from throng.api.group.v1 import message_pb2 as messages_pb2  # noqa: E402

OLD_MESSAGES = 5_000
TEXT = "x" * 120
RATE = 20.0
"""Messages a second in `lobby`."""


class Groups(FakeGroups):
    """`lobby`, in which something is said, `bulk`, which gets large blocks, and `old`, which has a history: who reads that shall not
    get what is said, or the members of `lobby` would be more in one place than in the other."""

    def __init__(self) -> None:
        super().__init__()
        self.bulk_head = 0

    def _group(self, group_id: str) -> group_pb2.Group:
        group = self.group()
        if group_id != "lobby":
            group.group_id, group.head_seq = group_id, self.bulk_head if group_id == "bulk" else OLD_MESSAGES
        return group

    def BatchEnter(self, request: Any, context: Any) -> Any:  # noqa: N802
        results = []
        for entry in request.entries:
            member = group_pb2.Member(user_id=entry.user_id, role=group_pb2.ROLE_MEMBER)
            entered = service_pb2.UserGroup(group=self._group(entry.group_id), member=member)
            results.append(service_pb2.EnterResult(entered=entered))
        return service_pb2.BatchEnterResponse(results=results)

    def GetHeads(self, request: Any, context: Any) -> Any:  # noqa: N802
        heads = [
            service_pb2.GroupHead(group_id=group_id, epoch=1, head_seq=self._group(group_id).head_seq)
            for group_id in request.group_ids
        ]
        return service_pb2.GetHeadsResponse(heads=heads)

    def ListMessages(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.group_id != "lobby":
            head = self._group(request.group_id).head_seq
            seqs = range(request.after_seq + 1, min(request.up_to_seq, head) + 1)
            messages = [message_pb2.Message(seq=seq, sender_id="bob", text=message_pb2.Text(text=TEXT)) for seq in seqs]
            return messages_pb2.ListMessagesResponse(epoch=1, head_seq=head, after_seq=request.after_seq, messages=messages)
        return super().ListMessages(request, context)


class Lasting(Delivery):
    """A Deliver stream for longer than a test has patience."""

    patience_seconds = None


class Publisher:
    """Publishes to `lobby` on A all the time, and blocks of `bulk` to whom it is told."""

    def __init__(self, groups: Groups, deliveries: dict[str, Delivery]) -> None:
        self._groups = groups
        self._deliveries = deliveries
        self.bulk_to = ""
        self.bulk_bytes = 40_000
        self.ending = threading.Event()

    def run(self) -> None:
        """Until the end; blocks of `bulk` go half-way between two messages."""
        due, dice = time.monotonic(), random.Random(1)
        words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randrange(2, 9))) for _ in range(2_000)]
        while not self.ending.is_set():
            message = self._groups.add(f"{'y' * 100}#{time.monotonic_ns():020d}#")
            self._deliver("a", message_pb2.Block(group_id="lobby", epoch=1, prev_seq=message.seq - 1, messages=[message]))
            due += 0.5 / RATE
            time.sleep(max(0.0, due - time.monotonic()))
            if self.bulk_to:
                self._deliver(self.bulk_to, self._bulk(dice, words))
            due += 0.5 / RATE
            time.sleep(max(0.0, due - time.monotonic()))

    def _bulk(self, dice: random.Random, words: list[str]) -> message_pb2.Block:
        prev_seq, self._groups.bulk_head = self._groups.bulk_head, self._groups.bulk_head + 10
        messages = [
            message_pb2.Message(
                seq=prev_seq + 1 + place,
                sender_id="bob",
                text=message_pb2.Text(text=" ".join(dice.choices(words, k=self.bulk_bytes // 65))),
            )
            for place in range(10)
        ]
        return message_pb2.Block(group_id="bulk", epoch=1, prev_seq=prev_seq, messages=messages)

    def _deliver(self, edge: str, block: message_pb2.Block) -> None:
        self._deliveries[edge].send(edge_pb2.EdgeEvent(group_id=block.group_id, block=block.SerializeToString()))


def serve_neighbours() -> None:
    """Serves, then obeys lines: `edges`: both are there; `bulk EDGE BYTES`, `quiet`; ends with its standard input."""
    neighbours = Neighbours()
    groups = neighbours.groups = Groups()
    neighbours.start()
    print(neighbours.address, flush=True)
    publisher: Publisher | None = None
    thread: threading.Thread | None = None
    for line in sys.stdin:
        order, *words = line.split()
        if order == "edges":
            known = {identity.edge_id: identity for identity in neighbours.router.identities}
            deliveries = {name: Lasting(one.internal_address, name, one.incarnation) for name, one in known.items()}
            for delivery in deliveries.values():
                delivery.open()
            publisher = Publisher(groups, deliveries)
            thread = threading.Thread(target=publisher.run)
            thread.start()
        elif order == "bulk" and publisher is not None:
            publisher.bulk_to, publisher.bulk_bytes = words[0], int(words[1])
        elif publisher is not None:
            publisher.bulk_to = ""
        print("done", flush=True)
    if publisher is not None and thread is not None:
        publisher.ending.set()
        thread.join()
    os._exit(0)
