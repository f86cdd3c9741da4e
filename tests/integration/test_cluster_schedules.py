"""Random schedules on a whole cluster in one process, on a fake clock: I1 to I7 and I9 together."""

from __future__ import annotations

import pathlib
import tempfile
import uuid
from typing import ClassVar

from cluster_stage import GROUP, Cluster
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from model_client import ModelClient

from throng.adapters.redis_calls import Call
from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import error_pb2
from throng.domain.ids import UserId
from throng.domain.message import MessageKind

USERS = ["u0", "u1", "u2", "u3"]
TRY_AGAIN = (error_pb2.ERROR_CODE_UNAVAILABLE, error_pb2.ERROR_CODE_DEADLINE_EXCEEDED, error_pb2.ERROR_CODE_RATE_LIMITED)


class Talker(ModelClient):
    """A client that also writes: it resends in order what has no ACK after each reconnect, with the same ids."""

    UNDERSTOOD: ClassVar = ModelClient.UNDERSTOOD | {"ack", "reject"}

    def __init__(self, cluster: Cluster, user_id: str, *, binary: bool, delivery: str) -> None:
        self.cluster = cluster
        self.edge_number = 0
        super().__init__(cluster.edges[0], user_id, binary=binary, delivery=delivery)
        self.texts: dict[str, str] = {}
        self.recalled: set[int] = set()
        self.order: list[str] = []
        self.waiting: list[str] = []
        self.acked: dict[str, int] = {}
        self.reported = 0

    def connect(self) -> None:
        if self.connection is None:
            self.stage = self.cluster.edges[self.edge_number]
            super().connect()

    def entered(self, frame: client_pb2.ServerFrame) -> None:
        fresh = not self.inside
        super().entered(frame)
        if fresh:
            for client_msg_id in self.waiting:
                self._submit(client_msg_id)

    def say(self, text: str) -> None:
        client_msg_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.user_id} {len(self.texts)}"))
        self.texts[client_msg_id] = text
        self.order.append(client_msg_id)
        self.waiting.append(client_msg_id)
        if self.inside and self.connection is not None:
            self._submit(client_msg_id)

    def _submit(self, client_msg_id: str) -> None:
        self.ask(send={"group_id": GROUP, "client_msg_id": client_msg_id, "text": {"text": self.texts[client_msg_id]}})

    def ack(self, frame: client_pb2.ServerFrame) -> None:
        known = self.acked.setdefault(frame.ack.client_msg_id, frame.ack.seq)
        assert known == frame.ack.seq, "another seq for the same message"
        if frame.ack.client_msg_id in self.waiting:
            self.waiting.remove(frame.ack.client_msg_id)

    def reject(self, frame: client_pb2.ServerFrame) -> None:
        client_msg_id = frame.reject.client_msg_id
        assert frame.reject.code in TRY_AGAIN, frame
        if client_msg_id in self.waiting:
            # Sending again after a refusal is a submission of its own: from now on it stands behind the others.
            self.waiting.remove(client_msg_id)
            self.waiting.append(client_msg_id)
            if client_msg_id in self.order:
                self.order.remove(client_msg_id)
            self._submit(client_msg_id)

    def recall_newest(self) -> None:
        """Takes its newest ACKed message back; what becomes of a second try does not matter."""
        mine = [seq for client_msg_id, seq in self.acked.items() if client_msg_id in self.texts]
        if mine and self.inside and self.connection is not None:
            seq = max(mine)
            if seq not in self.recalled:
                self.recalled.add(seq)
                self.ask(recall={"group_id": GROUP, "seq": seq})

    def report_read(self, read_seq: int) -> None:
        if self.inside and self.connection is not None and read_seq:
            self.reported = max(self.reported, read_seq)
            self.ask(report_read={"group_id": GROUP, "read_seq": read_seq})


WORK = ["say", "say", "say", "say", "burst", "read", "read", "report", "recall", "step", "step", "services", "written"]
FAULTS = ["lose", "one", "lose_observed", "leave", "away", "unsure", "back", "crash_edge", "crash_group", "flush_redis", "pause"]
OPERATIONS = st.tuples(st.sampled_from([*WORK, *WORK, *FAULTS]), st.integers(0, 60))


class Schedule:
    """Applies operations to the cluster and its clients, then checks what always holds."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.cluster = Cluster(folder, USERS)
        kinds = [(True, "DELIVERY_INLINE"), (True, "DELIVERY_NOTIFY"), (False, "DELIVERY_INLINE"), (False, "DELIVERY_NOTIFY")]
        self.talkers = [
            Talker(self.cluster, user, binary=binary, delivery=delivery)
            for user, (binary, delivery) in zip(USERS, kinds, strict=True)
        ]
        for number, talker in enumerate(self.talkers):
            talker.edge_number = number % 2
            talker.connect()
        self.said = 0

    def apply(self, operation: str, number: int) -> None:
        getattr(self, f"_{operation}")(self.talkers[number % len(self.talkers)], number)

    def _say(self, talker: Talker, number: int) -> None:
        self._speak(talker, 1)

    def _burst(self, talker: Talker, number: int) -> None:
        self._speak(talker, number)

    def _speak(self, talker: Talker, count: int) -> None:
        for _ in range(count):
            self.said += 1
            talker.say(f"{talker.user_id} says {self.said}")
        if self.said % 4:  # otherwise what follows happens while the writer is at work
            self.cluster.wait_written()

    def _read(self, talker: Talker, number: int) -> None:
        talker.connect()
        talker.read()

    def _report(self, talker: Talker, number: int) -> None:
        talker.report_read(min(talker.held, number))

    def _recall(self, talker: Talker, number: int) -> None:
        talker.recall_newest()

    def _services(self, talker: Talker, number: int) -> None:
        edge = self.cluster.edges[number % 2]
        edge.services.run()
        edge.hub.pump()

    def _written(self, talker: Talker, number: int) -> None:
        self.cluster.wait_written()

    def _leave(self, talker: Talker, number: int) -> None:
        talker.disconnect()
        talker.edge_number = number // 4 % 2

    def _away(self, talker: Talker, number: int) -> None:
        self.cluster.edges[number % 2].services.away |= {"submit", "fetch_after", "enter"}

    def _unsure(self, talker: Talker, number: int) -> None:
        self.cluster.edges[number % 2].services.away.add("append")

    def _back(self, talker: Talker, number: int) -> None:
        self.cluster.edges[number % 2].services.away.clear()

    def _step(self, talker: Talker, number: int) -> None:
        self.cluster.deliver(number)
        self.cluster.observe()

    def _lose(self, talker: Talker, number: int) -> None:
        self.cluster.lose(1 + number % 7)

    def _one(self, talker: Talker, number: int) -> None:
        self.cluster.deliver_to_one(number)

    def _lose_observed(self, talker: Talker, number: int) -> None:
        self.cluster.observe(lost=True)

    def _crash_edge(self, talker: Talker, number: int) -> None:
        self.cluster.crash_edge(number % 2)
        for each in self.talkers:
            if each.edge_number == number % 2:
                each.connection = None
                each.edge_number = 1 - number % 2

    def _crash_group(self, talker: Talker, number: int) -> None:
        self.cluster.crash_group_service()

    def _flush_redis(self, talker: Talker, number: int) -> None:
        self.cluster.redis.run([Call(("FLUSHALL",), "")])

    def _pause(self, talker: Talker, number: int) -> None:
        self.cluster.clock.advance(number / 20)
        for edge in self.cluster.edges:
            edge.sessions.tick()

    def settle(self) -> None:
        """Everything works again. Clients that still wait for an ACK come again, as after their own time-out."""
        for edge in self.cluster.edges:
            edge.services.away.clear()
        self.cluster.pass_time(1.0, each_step=self._everyone_reads)
        for talker in self.talkers:
            if talker.waiting:
                talker.disconnect()
        self.cluster.pass_time(5.0, each_step=self._everyone_reads)

    def lose_the_last(self, number: int) -> None:
        """The newest message reaches no edge, and no other follows."""
        self._speak(self.talkers[number % len(self.talkers)], 1)
        self._everyone_works()
        self.cluster.lose_blocks()
        self.cluster.pass_time(5.0, each_step=self._everyone_reads)

    def recall_the_last(self, number: int) -> None:
        """Somebody takes back what others have not read."""
        talker = self.talkers[number % len(self.talkers)]
        self._speak(talker, 1)
        self.cluster.pass_time(1.0, each_step=self._everyone_reads)
        talker.recall_newest()
        self.cluster.pass_time(1.0, each_step=self._everyone_reads)

    def remove_one(self, number: int) -> None:
        """Somebody is removed, no edge is told, and the others go on talking: I9 within three comparisons of heads."""
        removed = self.talkers[number % len(self.talkers)]
        others = [talker for talker in self.talkers if talker is not removed]
        self.cluster.directory.remove_members(GROUP, [UserId(removed.user_id)])
        self.cluster.lose_blocks()
        self.cluster.pass_time(6.5)
        assert removed.connection is not None
        told = [frame.WhichOneof("event") for frame in removed.connection.take()]
        assert told[-1:] == ["group_event"], "the removed one is told so"
        self._speak(others[0], 3)
        self.cluster.pass_time(1.0, each_step=lambda: [talker.read() for talker in others])
        assert removed.connection.take() == [], "I9"
        for talker in others:
            assert talker.held == len(self.cluster.stored())

    def _everyone_works(self) -> None:
        for edge in self.cluster.edges:
            edge.services.run()
        self.cluster.wait_written()

    def _everyone_reads(self) -> None:
        for talker in self.talkers:
            talker.connect()
            talker.read()

    def check(self) -> None:
        stored = self.cluster.stored()
        assert [message.seq for message in stored] == list(range(1, len(stored) + 1)), "I1"
        keys = [(message.sender_id, message.client_msg_id) for message in stored]
        assert len(set(keys)) == len(keys), "I2"
        places = {message.client_msg_id: message.seq for message in stored}
        for talker in self.talkers:
            assert talker.waiting == [], "every submission is answered in the end"
            assert {one: places[one] for one in talker.acked} == talker.acked, "I3"
            assert set(talker.texts) <= set(talker.acked)
            seqs = [places[one] for one in talker.order]
            assert seqs == sorted(seqs), "I4"
            assert talker.held == len(stored), "I6"
            assert talker.shown == list(range(talker.held - len(talker.shown) + 1, talker.held + 1)), "I5"
            for seq in talker.shown:
                message = stored[seq - 1]
                shown = talker.content[seq]
                assert shown.recalled_by_seq == message.recalled_by_seq, "I5: a recall reaches everyone"
                assert message.recalled_by_seq or message.kind is not MessageKind.TEXT or shown.text.text == self._text(seq, stored)

    def _text(self, seq: int, stored: list) -> str:  # type: ignore[type-arg]
        message = stored[seq - 1]
        (talker,) = (one for one in self.talkers if one.user_id == message.sender_id)
        return talker.texts[message.client_msg_id]

    def check_unread(self) -> None:
        """I7: the number that people see, by the service and by entering again."""
        for talker in self.talkers:
            talker.report_read(talker.reported)
        self.cluster.pass_time(6.0, each_step=self._everyone_reads)
        stored = self.cluster.stored()
        for talker in self.talkers:
            unread = [
                message
                for message in stored[talker.reported :]
                if message.sender_id != talker.user_id and message.kind is MessageKind.TEXT and not message.recalled_by_seq
            ]
            wanted = (min(len(unread), 99), len(unread) > 99)
            count = self.cluster.count(talker.user_id)
            assert (count.count, count.capped) == wanted, "I7"
            entered = self._entered_again(talker)
            assert (entered.unread.count, entered.unread.capped) == wanted, "I7"

    def _entered_again(self, talker: Talker) -> client_pb2.Entered:
        """What a second connection of the same user is told."""
        edge = talker.stage
        connection = edge.open(talker.user_id, groups=[GROUP])
        edge.services.run()
        (entered,) = (frame.entered for frame in connection.take() if frame.HasField("entered"))
        edge.sessions.on_closed(connection, 1000)
        return entered


# Not shrunk: an example takes a second, and a schedule as it was drawn is good enough to look into.
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.reuse, Phase.generate])
@given(operations=st.lists(OPERATIONS, min_size=10, max_size=60), last=st.integers(0, 3))
def test_whatever_happens_the_invariants_hold(operations: list[tuple[str, int]], last: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        schedule = Schedule(pathlib.Path(folder))
        try:
            for operation, number in operations:
                schedule.apply(operation, number)
            schedule.settle()
            schedule.check()
            schedule.lose_the_last(last)
            schedule.check()
            schedule.recall_the_last(last)
            schedule.check()
            schedule.check_unread()
            schedule.remove_one(last)
        finally:
            schedule.cluster.close()
