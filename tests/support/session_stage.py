"""Sessions of an edge on a stage: a hub that writes down, services that answer when told to, a clock that is set."""

from __future__ import annotations

import collections
import dataclasses
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf import json_format

from edge.adapters.client_codec import make_codecs
from edge.core.session_counters import SessionCounters
from edge.core.session_settings import EdgeIdentity, SessionSettings
from edge.core.sessions import EdgeSessions
from edge.ports import BlockEvent, EnteredGroup, FetchedPage, GroupHead, ReadCursor, UnreadCount
from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import message_pb2
from throng.domain.close_codes import CloseCode
from throng.domain.errors import ErrorCode, ThrongError, unavailable
from throng.domain.group import Group, GroupSettings, Member, Role
from throng.domain.ids import EdgeId, GroupId, UserId
from throng.domain.message import Submission
from throng.testing.fake_clock import FakeClock


def payload_of(frame: bytes) -> bytes:
    """What a server's WebSocket frame carries."""
    short = frame[1]
    return frame[{126: 4, 127: 10}.get(short, 2) :]


class FakeConnection:
    """A connection that keeps the frames sent to it."""

    def __init__(self, *, binary: bool = True) -> None:
        self.binary = binary
        self.session: Any = None
        self.raw: list[bytes] = []
        self.close_code: CloseCode | None = None

    def take(self) -> list[client_pb2.ServerFrame]:
        """The frames since the last call."""
        raw, self.raw = self.raw, []
        return [self._parse(payload_of(frame)) for frame in raw]

    def _parse(self, payload: bytes) -> client_pb2.ServerFrame:
        if self.binary:
            return client_pb2.ServerFrame.FromString(payload)
        return json_format.Parse(payload, client_pb2.ServerFrame())


class FakeArray:
    """Connections in the order in which they came."""

    def __init__(self) -> None:
        self.connections: list[FakeConnection] = []

    def add(self, connection: FakeConnection) -> None:
        assert connection not in self.connections
        if connection.close_code is None:
            self.connections.append(connection)

    def remove(self, connection: FakeConnection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)

    def __len__(self) -> int:
        return len(self.connections)


class FakeHub:
    """Sends at once; with `lazy` fan-outs wait for `pump`, as passes of the real hub do."""

    def __init__(self, *, lazy: bool = False) -> None:
        self.lazy = lazy
        self.passes: collections.deque[Callable[[], None]] = collections.deque()
        self.arrays: list[FakeArray] = []

    def send(self, connection: FakeConnection, frame: bytes) -> None:
        if connection.close_code is None:
            connection.raw.append(frame)

    def close(self, connection: FakeConnection, code: CloseCode, reason: str = "") -> None:
        if connection.close_code is None:
            connection.close_code = code
            for array in self.arrays:
                array.remove(connection)

    def array(self) -> FakeArray:
        self.arrays.append(FakeArray())
        return self.arrays[-1]

    def fan_out(
        self,
        array: FakeArray,
        frame: bytes,
        *,
        head_frame: Callable[[], bytes],
        on_done: Callable[[int], None] | None = None,
    ) -> None:
        def serve() -> None:
            for connection in array.connections:
                connection.raw.append(frame)
            if on_done is not None:
                on_done(len(array))

        self.passes.append(serve)
        if not self.lazy:
            self.pump()

    def soon(self, callback: Callable[[], None]) -> None:
        self.passes.append(callback)
        if not self.lazy:
            self.pump()

    def pump(self) -> None:
        while self.passes:
            self.passes.popleft()()


def text_message(seq: int, text: str = "", *, sender_id: str = "bob") -> message_pb2.Message:
    """A stored message."""
    return message_pb2.Message(
        seq=seq, sender_id=sender_id, lane=message_pb2.LANE_NORMAL, text=message_pb2.Text(text=text or f"text {seq}")
    )


class FakeServices:
    """`Upstream` over groups in memory. Answers wait in `pending` until `run`; methods named in `away` or `broken` fail."""

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self.members: dict[str, dict[str, Member]] = {}
        self.messages: dict[str, list[message_pb2.Message]] = {}
        self.versions: dict[str, int] = {}
        self.deleted: dict[tuple[str, str], list[int]] = {}
        self.cursors: dict[tuple[str, str], int] = {}
        self.away: set[str] = set()
        self.broken: set[str] = set()
        self.pending: list[Callable[[], None]] = []
        self.calls: collections.Counter[str] = collections.Counter()
        self.submitted: list[Submission] = []
        self.routes: list[tuple[str, int]] = []

    # The groups themselves

    def add_group(self, group_id: str, *users: str, messages: int = 0, **settings: Any) -> None:
        settings = {"send_interval_ms": 0} | settings
        self.groups[group_id] = Group(GroupId(group_id), group_id.title(), settings=GroupSettings(**settings))
        self.members[group_id] = {user: Member(UserId(user)) for user in users}
        self.messages[group_id] = [text_message(seq) for seq in range(1, messages + 1)]

    def group(self, group_id: str) -> Group:
        group = _with_head(self.groups[group_id], len(self.messages[group_id]))
        return dataclasses.replace(group, members_version=self.versions.get(group_id, 0))

    def write(self, group_id: str, count: int = 1, *, recall: int = 0) -> BlockEvent:
        """Stores messages and returns the block of them."""
        stored = self.messages[group_id]
        prev_seq = len(stored)
        recalled = []
        for seq in range(prev_seq + 1, prev_seq + count + 1):
            if recall:
                stored[recall - 1].ClearField("content")
                stored[recall - 1].recalled_by_seq = seq
                recalled.append((recall, seq))
                stored.append(message_pb2.Message(seq=seq, sender_id="bob", recall=message_pb2.Recall(target_seq=recall)))
            else:
                stored.append(text_message(seq))
        return self.block(group_id, prev_seq, len(stored), recalled)

    def block(
        self, group_id: str, prev_seq: int, up_to_seq: int, recalled: Sequence[tuple[int, int]] = (), *, published: int = 0
    ) -> BlockEvent:
        group = self.groups[group_id]
        messages = self.messages[group_id][prev_seq:up_to_seq]
        block = message_pb2.Block(group_id=group_id, epoch=group.epoch, prev_seq=prev_seq, messages=messages)
        serialized = [(message.seq, message.SerializeToString()) for message in messages]
        as_json = json.dumps(json_format.MessageToDict(block))
        return BlockEvent(
            GroupId(group_id),
            group.epoch,
            prev_seq,
            up_to_seq,
            block.SerializeToString(),
            serialized,
            recalled,
            as_json,
            published,
        )

    # Upstream

    def run(self, place: int | None = None) -> None:
        """Answers what waits: all of it and what follows from it, or one."""
        if place is not None:
            self.pending.pop(place % len(self.pending))()
            return
        while self.pending:
            self.pending.pop(0)()

    def _later(self, name: str, done: Callable[[Any], None], answer: Callable[[], Any]) -> None:
        """`answer` is worked out when the call is made, as services may, and given when the test says so."""
        self.calls[name] += 1
        result = unavailable(f"{name} is away") if name in self.away else answer()
        if name in self.broken:
            result = ThrongError(ErrorCode.INTERNAL, f"{name} is broken")
        self.pending.append(lambda: done(result))

    def submit(self, submission: Submission, done: Any) -> None:
        self.submitted.append(submission)
        self._later("submit", done, lambda: None)

    def enter(self, user_id: str, group_id: str, display_name: str, done: Any) -> None:
        def answer() -> EnteredGroup | ThrongError:
            if group_id not in self.groups:
                return ThrongError(ErrorCode.GROUP_NOT_FOUND, "there is no such group")
            member = self.members[group_id].get(user_id)
            if member is None:
                return ThrongError(ErrorCode.NOT_A_MEMBER, "you are no member of this group")
            return EnteredGroup(self.group(group_id), member)

        self._later("enter", done, answer)

    def fetch_after(self, group_id: str, after_seq: int, up_to_seq: int, limit: int, done: Any) -> None:
        assert limit <= 200

        def answer() -> FetchedPage:
            group = self.group(group_id)
            last = min(up_to_seq or group.head_seq, group.head_seq, after_seq + limit)
            messages = [(message.seq, message.SerializeToString()) for message in self.messages[group_id][after_seq:last]]
            return FetchedPage(group.epoch, group.head_seq, after_seq, messages)

        self._later("fetch_after", done, answer)

    def fetch_before(self, group_id: str, before_seq: int, limit: int, done: Any) -> None:
        raise AssertionError("not used")

    def fetch_deleted(self, user_id: str, group_id: str, from_seq: int, done: Any) -> None:
        seqs = [seq for seq in self.deleted.get((user_id, group_id), []) if seq >= from_seq]
        self._later("fetch_deleted", done, lambda: seqs)

    def delete_for_user(self, user_id: str, group_id: str, seq: int, done: Any) -> None:
        def answer() -> None:
            self.deleted.setdefault((user_id, group_id), []).append(seq)

        self._later("delete_for_user", done, answer)

    def list_groups(self, user_id: str, done: Any) -> None:
        rows = [EnteredGroup(self.group(group_id), of[user_id]) for group_id, of in self.members.items() if user_id in of]
        self._later("list_groups", done, lambda: rows)

    def fetch_unread(self, user_id: str, group_ids: Sequence[str], done: Any) -> None:
        def answer() -> list[UnreadCount]:
            wanted = group_ids or [group_id for group_id, of in self.members.items() if user_id in of]
            return [self._unread(user_id, group_id) for group_id in wanted]

        self._later("fetch_unread", done, answer)

    def _unread(self, user_id: str, group_id: str) -> UnreadCount:
        read_seq = self.cursors.get((user_id, group_id), 0)
        count = len(self.messages[group_id]) - read_seq
        return UnreadCount(GroupId(group_id), min(count, 99), count > 99, read_seq)

    def report_cursors(self, cursors: Sequence[ReadCursor], done: Any) -> None:
        def answer() -> None:
            for cursor in cursors:
                key = (cursor.user_id, cursor.group_id)
                self.cursors[key] = max(self.cursors.get(key, 0), cursor.read_seq)

        self._later("report_cursors", done, answer)

    def fetch_heads(self, group_ids: Sequence[str], done: Any) -> None:
        def answer() -> list[GroupHead]:
            groups = [self.group(group_id) for group_id in group_ids]
            versions = self.versions
            return [GroupHead(group.group_id, group.epoch, group.head_seq, versions.get(group.group_id, 0)) for group in groups]

        self._later("fetch_heads", done, answer)

    def fetch_members(self, group_id: str, user_ids: Sequence[str], done: Any) -> None:
        def answer() -> list[Member]:
            members = self.members[group_id]
            return [members.get(user_id, Member(UserId(user_id), Role.NONE)) for user_id in user_ids]

        self._later("fetch_members", done, answer)

    def report_routes(self, changes: Sequence[tuple[str, int]]) -> None:
        self.routes += changes


def _with_head(group: Group, head_seq: int) -> Group:
    return Group(group.group_id, group.name, epoch=group.epoch, head_seq=head_seq, settings=group.settings)


class SessionStage:
    """Everything together; clients are connections on which `ask` says something."""

    def __init__(
        self,
        *,
        lazy_hub: bool = False,
        services: FakeServices | None = None,
        clock: FakeClock | None = None,
        identity: EdgeIdentity | None = None,
        **settings: Any,
    ) -> None:
        self.hub = FakeHub(lazy=lazy_hub)
        self.services = services or FakeServices()
        self.clock = clock or FakeClock()
        self.identity = identity or EdgeIdentity(EdgeId("edge-1"), 7)
        self.counters = SessionCounters()
        self.sessions = EdgeSessions(
            self.hub,
            self.services,
            make_codecs(),
            self.clock,
            SessionSettings(**settings),
            self.counters,
            self.identity,
            random.Random(1),
        )

    def open(self, user_id: str = "alice", *, binary: bool = True, groups: Sequence[str] = (), **extra: Any) -> FakeConnection:
        connection = FakeConnection(binary=binary)
        values = {"display_name": user_id.title(), "expires_at_ms": 0} | extra
        self.sessions.open(connection, user_id=UserId(user_id), groups=list(groups), **values)
        return connection

    def ask(self, connection: FakeConnection, request_id: int = 0, **request: Any) -> None:
        """Says `ask(c, 1, pull={"group_id": "g", "after_seq": 0})`."""
        frame = client_pb2.ClientFrame(request_id=request_id)
        json_format.ParseDict(request, frame)
        payload = frame.SerializeToString() if connection.binary else json_format.MessageToJson(frame).encode()
        self.sessions.on_message(connection, payload)

    def answer(self, connection: FakeConnection, request_id: int = 0, **request: Any) -> client_pb2.ServerFrame:
        """Says something, lets the services answer, and returns the only frame that came."""
        connection.take()
        self.ask(connection, request_id, **request)
        self.services.run()
        frames = connection.take()
        assert len(frames) == 1, frames
        return frames[0]

    def entered(self, user_id: str = "alice", group_id: str = "g", *, binary: bool = True, **enter: Any) -> FakeConnection:
        """A connection that takes part in a group; its frames so far are taken."""
        connection = self.open(user_id, binary=binary)
        frame = self.answer(connection, 1, enter={"group_id": group_id} | enter)
        assert frame.WhichOneof("event") == "entered", frame
        return connection

    def tell(self, *events: Any) -> None:
        """A router delivers."""
        self.sessions.on_events(events)

    def pass_time(self, seconds: float, *, step: float = 0.1) -> None:
        """Lets time pass; the services answer meanwhile."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            self.sessions.tick()
            while self.sessions.depart():
                pass
            self.services.run()
            self.hub.pump()
