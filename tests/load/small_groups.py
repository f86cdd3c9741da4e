"""Many groups of one person each who talk now and then, driven and judged by one process, so that each answer has its own time."""

from __future__ import annotations

import pathlib
import random
import select
import sys
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from crowd import Crowd, Member

from throng.adapters.jwt_tokens import TokenIssuer
from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import group_pb2 as common_pb2
from throng.api.common.v1 import message_pb2
from throng.api.group.v1 import group_pb2, group_pb2_grpc
from throng.runtime import rpc_sync

_CALLS_AT_ONCE = 64
_ENTERING = 64
_TEXT = "x" * 200
_FREE = common_pb2.GroupSettings(open=True, send_interval_ms=0, budget_per_second=0)


def create_groups(address: str, names: Sequence[str], settings: common_pb2.GroupSettings = _FREE) -> None:
    """Creates groups, many calls at once."""
    with rpc_sync.channel([address]) as channel:
        stub = group_pb2_grpc.GroupServiceStub(channel)
        under_way: deque[Any] = deque()
        for name in names:
            request = group_pb2.CreateGroupRequest(group_id=name, name=name, settings=settings)
            under_way.append(stub.CreateGroup.future(request, timeout=60))
            if len(under_way) >= _CALLS_AT_ONCE:
                under_way.popleft().result()
        for call in under_way:
            call.result()


@dataclass(slots=True)
class _Person:
    member: Member
    crowd: Crowd
    group_id: str
    submitted: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """One message: when it was submitted (monotonic nanoseconds), and how long its ACK took."""

    at_ns: int
    ack_ms: float


@dataclass
class SmallGroups:
    """The people, `rate` messages per second in all, each by one of them at random. Single thread.

    Attributes:
        answered: messages whose ACK came. lateness_ms: how much later than planned each was submitted.
        wrong: what may not be, by name.
    """

    rate: float
    answered: list[Answered] = field(default_factory=list)
    lateness_ms: list[float] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)
    _people: list[_Person] = field(default_factory=list)
    _by_member: dict[Member, _Person] = field(default_factory=dict)
    _waiting: dict[str, tuple[int, int]] = field(default_factory=dict)
    _crowds: list[Crowd] = field(default_factory=list)
    _random: random.Random = field(default_factory=lambda: random.Random(1))
    _next_due_ns: int = 0
    _epoll: select.epoll = field(default_factory=select.epoll)

    def enter(self, addresses: Sequence[str], issuer: TokenIssuer, group_ids: Sequence[str]) -> None:
        """Everybody connects and enters, the groups dealt out to the edges in turn; who is sent away comes again.

        Raises:
            TimeoutError: not all of them got in.
        """
        deadline = time.monotonic() + 120.0
        for place, address in enumerate(addresses):
            crowd = Crowd(address, issuer)
            crowd.on_frame = self._on_frame
            self._crowds.append(crowd)
            own = group_ids[place :: len(addresses)]
            waiting = deque(own)
            while crowd.entered < len(own):
                while waiting and len(crowd.members) - crowd.entered < _ENTERING:
                    self._come(crowd, waiting.popleft())
                crowd.pump(0.01)
                waiting.extend(self._sent_away(crowd))
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{len(own) - crowd.entered} of {len(own)} did not get in")
        self._people = list(self._by_member.values())
        for crowd in self._crowds:
            self._epoll.register(crowd.fileno(), select.EPOLLIN)

    def _come(self, crowd: Crowd, group_id: str) -> None:
        crowd.prepare([f"of-{group_id}"])
        member = crowd.come(group_id)
        self._by_member[member] = _Person(member, crowd, group_id)

    def _sent_away(self, crowd: Crowd) -> list[str]:
        """Groups whose people were told to come later."""
        if not crowd.refused:
            return []
        crowd.refused.clear()
        away = [person for person in self._by_member.values() if person.member.refused]
        for person in away:
            del self._by_member[person.member]
            crowd.go(person.member, politely=False)
        return [person.group_id for person in away]

    def talk_until(self, end_ns: int) -> None:
        """Submits on schedule and takes what comes, until a moment of the monotonic clock."""
        now_ns = time.monotonic_ns()
        apart_ns = int(1e9 / self.rate)
        self._next_due_ns = self._next_due_ns or now_ns
        while now_ns < end_ns:
            while self._next_due_ns <= now_ns:
                self._submit(self._next_due_ns)
                self._next_due_ns += apart_ns
            self._read(max(min(self._next_due_ns, end_ns) - time.monotonic_ns(), 0) / 1e9)
            now_ns = time.monotonic_ns()

    def settle(self, seconds: float) -> None:
        """Waits until everything is ACKed and shown, at most so long; what is not is wrong."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and (self._waiting or any(one.held < one.submitted for one in self._people)):
            self._read(0.02)
        self.wrong["not ACKed"] += len(self._waiting)
        self.wrong["not delivered"] += sum(max(one.submitted - one.held, 0) for one in self._people)
        self.wrong = +self.wrong

    def close(self) -> None:
        """Everybody leaves."""
        for crowd in self._crowds:
            crowd.close()
        self._epoll.close()

    def within(self, start_ns: int, end_ns: int) -> Iterator[float]:
        """Milliseconds to ACK of what was submitted in a stretch of time."""
        return (one.ack_ms for one in self.answered if start_ns <= one.at_ns < end_ns)

    def _submit(self, due_ns: int) -> None:
        person = self._random.choice(self._people)
        client_msg_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        text = message_pb2.Text(text=_TEXT)
        frame = client_pb2.ClientFrame(send=client_pb2.Send(group_id=person.group_id, client_msg_id=client_msg_id, text=text))
        person.submitted += 1
        now_ns = time.monotonic_ns()
        self._waiting[client_msg_id] = (now_ns, person.submitted)
        self.lateness_ms.append((now_ns - due_ns) / 1e6)
        person.crowd.say(person.member, frame)

    def _read(self, seconds: float) -> None:
        self._epoll.poll(seconds)
        for crowd in self._crowds:
            crowd.pump(0.0)

    def _on_frame(self, member: Member, frame: client_pb2.ServerFrame) -> None:
        person = self._by_member[member]
        kind = frame.WhichOneof("event")
        if kind == "ack":
            self._on_ack(person, frame.ack)
        elif kind == "block":
            if frame.block.group_id != person.group_id:
                self.wrong["of another group"] += 1
            elif frame.block.prev_seq != person.held:
                self.wrong["out of order"] += 1
            person.held = frame.block.prev_seq + len(frame.block.messages)
        elif kind in ("reject", "failure", "drain"):
            self.wrong[kind] += 1

    def _on_ack(self, person: _Person, ack: client_pb2.Ack) -> None:
        found = self._waiting.pop(ack.client_msg_id, None)
        if found is None:
            self.wrong["ACKed twice"] += 1
            return
        at_ns, seq = found
        if ack.seq != seq:
            self.wrong["wrong seq"] += 1  # each has a group of their own: the n-th message is seq n (I1, I2, I4)
        self.answered.append(Answered(at_ns, (time.monotonic_ns() - at_ns) / 1e6))
