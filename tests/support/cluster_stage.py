"""Four services in one process on a clock that is set: real stores, real lanes, writer, blocks, sessions and counts.

Only the wires between them are made here, and these lose, repeat and hold back what the design says may be lost.
"""

from __future__ import annotations

import collections
import functools
import pathlib
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from group_fakes import NobodyElse, NobodyWaits
from prometheus_client import CollectorRegistry
from session_stage import FakeServices, SessionStage

from edge.adapters.proto_values import to_event
from edge.core.session_settings import EdgeIdentity
from edge.ports import EnteredGroup, FetchedPage, GroupHead, ReadCursor, UnreadCount
from group_svc.adapters.event_codec import to_publication
from group_svc.adapters.grpc_unread_observer import to_observation
from group_svc.adapters.proto_body_inspector import ProtoBodyInspector
from group_svc.adapters.redis_recent_messages import RedisRecentMessages
from group_svc.adapters.sqlite_membership_store import SQLiteMembershipStore
from group_svc.adapters.sqlite_message_store import SQLiteMessageStore
from group_svc.adapters.stored_message_codec import to_message
from group_svc.adapters.word_list_safety import WordListSafety
from group_svc.core.directory import Directory
from group_svc.metrics import GroupMetrics
from group_svc.ports import AnswerPublication, BlockPublication, Page, PublicationItem
from group_svc.write_path import WritePath, WritePathPorts
from throng.adapters.memory_uplink import MemoryUplink
from throng.adapters.redis_access import RedisAccess
from throng.adapters.redis_client import RedisThreads
from throng.adapters.sqlite_database import SQLiteDatabase
from throng.api.unread.v1 import unread_pb2
from throng.domain.errors import ThrongError, unavailable
from throng.domain.group import Group, GroupSettings, Member, Role
from throng.domain.ids import EdgeId, GroupId, UserId
from throng.domain.message import Position, StoredMessage, Submission
from throng.testing.fake_clock import FakeClock
from unread_svc import wire
from unread_svc.adapters.redis_unread_window import RedisUnreadWindow
from unread_svc.adapters.sqlite_cursor_store import SQLiteCursorStore
from unread_svc.best_effort_window import BestEffortWindow
from unread_svc.core.counting import Unread
from unread_svc.counter import UnreadCounter
from unread_svc.head_bound import HeadBound
from unread_svc.metrics import UnreadMetrics
from unread_svc.ports import Countable, CountablePage, CountableQuery, Membership, UserInGroup
from unread_svc.ports import ReadCursor as StoredCursor
from unread_svc.rebuild import WindowRebuilder

GROUP = GroupId("g")
FREE = GroupSettings(open=False, send_interval_ms=0, budget_per_second=0, block_max_messages=10, block_interval_ms=0)
_ANSWER_SECONDS = 20.0


class Wires:
    """`Publisher` and `UnreadObserver`: what the writer sends waits here until the schedule lets it through, or loses it."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.publications: collections.deque[PublicationItem] = collections.deque()
        self.observations: collections.deque[BlockPublication] = collections.deque()
        self.answers = 0

    def publish(self, items: Sequence[PublicationItem]) -> None:
        with self.changed:
            self.publications += items
            self.answers += sum(isinstance(item, AnswerPublication) for item in items)
            self.changed.notify_all()

    def observe(self, block: BlockPublication) -> None:
        with self.changed:
            self.observations.append(block)

    def wait_answers(self, count: int) -> None:
        """Waits until the writer has answered so many submissions in all."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.answers >= count, _ANSWER_SECONDS), f"{self.answers} answers of {count}"


class InProcessDirectory:
    """`GroupDirectory` of unread_svc without a wire."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def memberships(self, pairs: Sequence[UserInGroup]) -> list[Membership | None]:
        found = self._cluster.directory.get_many([(pair.group_id, pair.user_id) for pair in pairs])
        return [None if isinstance(one, ThrongError) else _membership(*one) for one in found]

    def memberships_of(self, user_id: UserId) -> list[Membership]:
        return [_membership(*one) for one in self._cluster.groups.list_user_groups(user_id, after_group_id="", limit=500)]

    def heads(self, group_ids: Sequence[GroupId]) -> list[Position | None]:
        return self._cluster.path.history.heads(group_ids)

    def countable(self, queries: Sequence[CountableQuery]) -> list[CountablePage | ThrongError]:
        return [self._page(query) for query in queries]

    def _page(self, query: CountableQuery) -> CountablePage:
        epoch, head_seq, found = self._cluster.messages.countable(
            query.group_id, after_seq=query.after_seq, exclude_sender=query.exclude_sender_id, limit=100
        )
        return CountablePage(Position(epoch, head_seq), [Countable(seq, sender) for seq, sender in found])


def _membership(group: Group, member: Member) -> Membership:
    return Membership(group.group_id, Position(group.epoch, group.head_seq), member.joined_seq)


class ClusterUpstream(FakeServices):
    """`Upstream` of one edge over the real services; answers wait until the schedule gives them."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.cluster = cluster

    def submit(self, submission: Submission, done: Any) -> None:
        if "submit" in self.away:
            self._later("submit", done, lambda: None)
            return
        self.cluster.append(submission)
        # "append": it is in the log, and the edge is told that this is not known.
        self._later("append", done, lambda: None)

    def enter(self, user_id: str, group_id: str, display_name: str, done: Any) -> None:
        def answer() -> EnteredGroup | ThrongError:
            (entered,) = self.cluster.directory.enter([(GroupId(group_id), UserId(user_id), display_name)])
            return entered if isinstance(entered, ThrongError) else EnteredGroup(*entered)

        self._later("enter", done, answer)

    def fetch_after(self, group_id: str, after_seq: int, up_to_seq: int, limit: int, done: Any) -> None:
        history = self.cluster.path.history
        read = functools.partial(history.read_after, GroupId(group_id), after_seq=after_seq, up_to_seq=up_to_seq, limit=limit)
        self._later("fetch_after", done, lambda: _fetched(read()))

    def fetch_before(self, group_id: str, before_seq: int, limit: int, done: Any) -> None:
        read = functools.partial(self.cluster.path.history.read_before, GroupId(group_id), before_seq=before_seq, limit=limit)
        self._later("fetch_before", done, lambda: _fetched(read()))

    def fetch_unread(self, user_id: str, group_ids: Sequence[str], done: Any) -> None:
        def answer() -> list[UnreadCount]:
            counts = [(GroupId(group_id), self.cluster.count(user_id, group_id)) for group_id in group_ids]
            return [UnreadCount(group_id, one.count, one.capped, one.read_seq) for group_id, one in counts]

        self._later("fetch_unread", done, answer)

    def report_cursors(self, cursors: Sequence[ReadCursor], done: Any) -> None:
        self._later("report_cursors", done, lambda: self.cluster.store_cursors(cursors))

    def fetch_heads(self, group_ids: Sequence[str], done: Any) -> None:
        def answer() -> list[GroupHead]:
            wanted = [GroupId(group_id) for group_id in group_ids]
            heads = self.cluster.path.history.heads(wanted)
            versions = self.cluster.directory.members_versions(wanted)
            return [
                GroupHead(group_id, head.epoch, head.seq, version)
                for group_id, head, version in zip(wanted, heads, versions, strict=True)
                if head
            ]

        self._later("fetch_heads", done, answer)

    def fetch_members(self, group_id: str, user_ids: Sequence[str], done: Any) -> None:
        def answer() -> list[Member]:
            found = self.cluster.directory.get_many([(GroupId(group_id), UserId(user_id)) for user_id in user_ids])
            return [
                Member(UserId(user_id), Role.NONE) if isinstance(one, ThrongError) else one[1]
                for user_id, one in zip(user_ids, found, strict=True)
            ]

        self._later("fetch_members", done, answer)


def _fetched(page: Page) -> FetchedPage:
    messages = [(message.seq, to_message(message).SerializeToString()) for message in page.messages]
    return FetchedPage(page.epoch, page.head_seq, page.after_seq, messages)


class Cluster:
    """Two edges, one group service, one unread service; each edge and the group service may die and come again."""

    def __init__(self, folder: pathlib.Path, users: Sequence[str]) -> None:
        self.clock = FakeClock()
        self.redis = RedisThreads(RedisAccess(f"embedded://{uuid.uuid4()}"))
        self._database = SQLiteDatabase(folder / "group.db", migrations_package="group_svc.adapters.migrations_sqlite")
        self.messages = SQLiteMessageStore(self._database)
        self.groups = SQLiteMembershipStore(self._database)
        self.groups.create_group(Group(GROUP, "G", settings=FREE), owner_id=None)
        self.groups.add_members(GROUP, [Member(UserId(user)) for user in users])
        self.wires = Wires()
        self.appended = 0
        self.start_group_service()
        self._cursors = SQLiteCursorStore(folder / "unread.sqlite")
        self._unread_metrics = UnreadMetrics(CollectorRegistry())
        redis_window = RedisUnreadWindow(self.redis, lifetime_seconds=3_600)
        self._window = BestEffortWindow(redis_window, self._unread_metrics)
        directory = InProcessDirectory(self)
        rebuilder = WindowRebuilder(directory, self._window, self._unread_metrics, wait_seconds=5.0)
        self._counter = UnreadCounter(directory, self._cursors, self._window, rebuilder, self._unread_metrics, clock=self.clock)
        self._head_bound = HeadBound(directory, clock=self.clock)
        self.edges = [self._edge(number, 1) for number in range(2)]

    def _edge(self, number: int, incarnation: int) -> SessionStage:
        return SessionStage(
            lazy_hub=True,
            services=ClusterUpstream(self),
            clock=self.clock,
            identity=EdgeIdentity(EdgeId(f"edge-{number}"), incarnation),
            cache_messages=40,
            min_send_interval_ms=0,
            max_connections_per_user=0,
        )

    # group_svc

    def start_group_service(self) -> None:
        self.uplink = MemoryUplink()
        ports = WritePathPorts(
            consumer=self.uplink,
            messages=self.messages,
            groups=self.groups,
            recent=RedisRecentMessages(self.redis),
            publisher=self.wires,
            observer=self.wires,
            waiters=NobodyWaits(),
            forwarder=NobodyElse(),
            inspector=ProtoBodyInspector(),
            safety=WordListSafety(()),
            clock=self.clock,
        )
        self.path = WritePath(ports, GroupMetrics(CollectorRegistry()), lanes=2)
        self.directory = Directory(self.groups, self.path.members, self.wires)
        self.path.start()

    def crash_group_service(self) -> None:
        """Everything on its way to a commit, and everything published and not delivered, is gone."""
        self.path.stop(0.0)
        self.wires.publications.clear()
        self.wires.observations.clear()
        self.appended = self.wires.answers
        self.start_group_service()

    def append(self, submission: Submission) -> None:
        self.appended += 1
        self.uplink.append(submission, lambda error: None)

    def wait_written(self) -> None:
        """Everything appended is committed or refused, and its answers are on their way."""
        self.wires.wait_answers(self.appended)

    # router_svc

    def deliver(self, count: int | None = None) -> None:
        """Lets publications through to all edges, in their order."""
        queue = self.wires.publications
        for _ in range(len(queue) if count is None else min(count, len(queue))):
            self._route(queue.popleft())

    def lose(self, count: int) -> None:
        """The next publications reach nobody."""
        for _ in range(min(count, len(self.wires.publications))):
            self.wires.publications.popleft()

    def lose_blocks(self) -> None:
        """Of all publications only the answers come through."""
        with self.wires.changed:
            answers = [item for item in self.wires.publications if isinstance(item, AnswerPublication)]
            self.wires.publications.clear()
        for answer in answers:
            self._route(answer)

    def deliver_to_one(self, number: int) -> None:
        """The next publication reaches one edge alone; a second time, too."""
        if self.wires.publications:
            item = self.wires.publications.popleft()
            edge = self.edges[number % len(self.edges)]
            for _ in range(1 + number % 2):
                self._route(item, [edge])

    def _route(self, item: PublicationItem, edges: Sequence[SessionStage] | None = None) -> None:
        publication = to_publication(item, now_ms=self.clock.now_ms())
        for edge in self.edges if edges is None else edges:
            if isinstance(item, AnswerPublication):
                identity = edge.identity
                if (publication.edge_id, publication.incarnation) != (identity.edge_id, identity.incarnation):
                    continue
            event = to_event(publication.event, wants_json=edge.sessions.wants_json)
            assert event is not None
            edge.tell(event)

    # edges

    def crash_edge(self, number: int) -> SessionStage:
        """Sessions, caches and cursors of an edge are gone; a new life of it is there."""
        old = self.edges[number]
        self.edges[number] = self._edge(number, old.identity.incarnation + 1)
        self.edges[number].sessions.on_routes_applied(None)
        return old

    # unread_svc

    def observe(self, *, lost: bool = False) -> None:
        """Lets what is to be observed through, or loses it."""
        blocks = [self.wires.observations.popleft() for _ in range(len(self.wires.observations))]
        if blocks and not lost:
            request = unread_pb2.ObserveRequest(observations=[to_observation(block) for block in blocks])
            observations, malformed = wire.read_observations(request)
            assert malformed == 0
            self._window.observe(observations)

    def count(self, user_id: str, group_id: str = GROUP) -> Unread:
        (count,) = self._counter.count_pairs([UserInGroup(UserId(user_id), GroupId(group_id))])
        if count is None:
            raise unavailable("no member")
        return count

    def store_cursors(self, cursors: Sequence[ReadCursor]) -> None:
        stored = [StoredCursor(cursor.user_id, cursor.group_id, cursor.read_seq) for cursor in cursors]
        self._cursors.advance(self._head_bound.apply(stored))

    # everything

    def pass_time(self, seconds: float, *, each_step: Callable[[], object] = lambda: None) -> None:
        """Lets time pass while everything works."""
        for _ in range(round(seconds / 0.1)):
            self.clock.advance(0.1)
            self.wait_written()
            self.deliver()
            self.observe()
            for edge in self.edges:
                edge.sessions.tick()
                edge.services.run()
                edge.hub.pump()
            each_step()

    def stored(self) -> list[StoredMessage]:
        """The whole history, from the store."""
        found: list[StoredMessage] = []
        while True:
            page = self.messages.read_after(GROUP, after_seq=len(found), up_to_seq=0, limit=200)
            if not page.messages:
                return found
            found += page.messages

    def close(self) -> None:
        self.path.stop(0.0)
        self._database.close()
        self._cursors.close()
        self.redis.close()
