"""The sessions of an edge: what clients ask and what routers deliver meet here (hops 1, 6, 7 and 8)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from edge.core import requests
from edge.core.codec import Codecs
from edge.core.departures import Departures
from edge.core.entering import Entrance
from edge.core.feed import RoomFeed
from edge.core.head_watch import HeadWatch
from edge.core.in_turns import Waiters
from edge.core.links import LinkHub
from edge.core.member_watch import MemberWatch
from edge.core.membership import Membership
from edge.core.message_cache import CacheBudget
from edge.core.parts import Parts
from edge.core.presence import Presence
from edge.core.range_reader import RangeReader
from edge.core.read_cursors import ReadCursors
from edge.core.reading import Reading
from edge.core.replies import Replies
from edge.core.responses import GroupLeft, GroupRemoved, Pong, Resume, Welcome
from edge.core.resume_tokens import ResumeTokens
from edge.core.retry_spread import RetrySpread
from edge.core.rooms import Rooms
from edge.core.send_door import SendDoor
from edge.core.session import Part, Session
from edge.core.session_counters import SessionCounters
from edge.core.session_settings import EdgeIdentity, SessionSettings
from edge.core.single_flight import SingleFlight
from edge.core.submissions import Submissions
from edge.core.users import Users
from edge.ports import AcksEvent, AnswerEvent, BlockEvent, EdgeEvent, GroupEvent, HeadEvent, MemberEvent, OnlineEvent, Upstream
from throng.domain.close_codes import CloseCode
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Delivery, Role
from throng.domain.ids import ConnId, GroupId, UserId
from throng.ports.clock import Clock

MAX_REFRESHED = 64
"""Groups of a connection whose tokens are refreshed at a time; further ones are looked up after a reconnect."""

_log = structlog.get_logger("throng.edge")


class EdgeSessions:
    """`HubHandler` below the hub, `EventSink` above the routers. Hub thread only, but for `wants_json` and `rooms_by_size`."""

    def __init__(
        self,
        hub: LinkHub,
        upstream: Upstream,
        codecs: Codecs,
        clock: Clock,
        settings: SessionSettings,
        counters: SessionCounters,
        identity: EdgeIdentity,
        random_source: random.Random | None = None,
    ) -> None:
        """Puts the parts together; nothing is sent yet."""
        self._clock = clock
        self._settings = settings
        self._counters = counters
        self._identity = identity
        self._codecs = codecs
        self._budget = CacheBudget(
            max_messages=settings.cache_messages, max_bytes=settings.cache_bytes, max_total_bytes=settings.cache_total_bytes
        )
        self._users = Users()
        self._sessions: dict[ConnId, Session] = {}
        self._opened = 0
        # Spreads clients out; nothing is secret.
        source = random_source or random.Random()
        self._replies = Replies(hub, codecs, counters, RetrySpread(clock, source))
        self._rooms = Rooms(hub, upstream, codecs, self._budget, counters)
        self._parts = Parts(self._rooms, self._replies, clock)
        waiters = Waiters(hub.soon)
        self._feed = RoomFeed(upstream, codecs, waiters, counters)
        self._members = MemberWatch(upstream, self._rooms, counters, sessions=self._sessions.values, apply=self._act_on_member)
        self._presence = Presence(self._rooms, clock, counters)
        self._heads = HeadWatch(upstream, self._rooms, self._feed, self._members, clock, settings)
        self._cursors = ReadCursors(upstream, counters)
        flights: SingleFlight[Any, Any] = SingleFlight(clock, waiters, negative_seconds=settings.negative_ms / 1000)
        reader = RangeReader(upstream, flights, counters)
        tokens = ResumeTokens(settings.resume_key, clock)
        self._membership = Membership(upstream, self._rooms, tokens, waiters, clock, settings, counters)
        self._entrance = Entrance(upstream, self._parts, self._feed, reader, self._cursors, self._membership, settings, counters)
        self._reading = Reading(upstream, self._feed, reader, self._cursors, self._replies, settings, counters)
        door = SendDoor(clock, source, counters, keeps_intervals=settings.min_send_interval_ms > 0)
        self._submissions = Submissions(upstream, self._replies, clock, settings, counters, identity, door)
        self._departures = Departures(hub, self._replies, clock, settings, counters, source, self._refresh_tokens)
        self._next_cursors = clock.monotonic() + settings.cursor_interval_ms / 1000
        self._next_routes = clock.monotonic() + settings.route_interval_ms / 1000
        self._requests: dict[type, Callable[[Session, Any], None]] = {
            requests.Send: self._submissions.send,
            requests.Recall: self._recall,
            requests.Enter: self._enter,
            requests.Leave: self._leave,
            requests.Pull: self._of_part(self._reading.pull),
            requests.History: self._of_part(self._reading.history),
            requests.ReportRead: self._of_part(self._reading.report_read),
            requests.DeleteForMe: self._of_part(self._reading.delete_for_me),
            requests.ListGroups: self._reading.list_groups,
            requests.SetVisibility: self._set_visibility,
            requests.Ping: self._ping,
        }
        self._events: dict[type, Callable[[Any], None]] = {
            BlockEvent: self._on_block,
            HeadEvent: self._on_head,
            AnswerEvent: self._on_answer,
            AcksEvent: self._on_acks,
            MemberEvent: self._on_member,
            GroupEvent: self._on_group,
            OnlineEvent: self._presence.on_online,
        }

    # Connections ----------------------------------------------------------------------------------------------------

    def open(
        self,
        connection: Any,
        *,
        user_id: UserId,
        display_name: str,
        expires_at_ms: int,
        groups: Sequence[str],
        delivery: Delivery = Delivery.UNSPECIFIED,
        greeting: bytes = b"",
    ) -> None:
        """Begins a session on a connection of the hub: `welcome`, then the groups named in the URL are entered.

        `greeting`: bytes that go before all else, in the same send as the first frame (the 101 answer).
        """
        user = self._users.get_or_make(user_id)
        limit = self._settings.max_connections_per_user
        self._opened += 1
        session = Session(connection, ConnId(f"{self._opened:x}"), user, display_name, expires_at_ms)
        if limit and len(user.sessions) >= limit:
            self._replies.greet(session, greeting)
            self._departures.close(session, CloseCode.TOO_MANY_CONNECTIONS)
            return
        session.idle_since = self._clock.monotonic()
        connection.session = session
        self._users.add(session)
        self._sessions[session.conn_id] = session
        self._counters.sessions += 1
        self._replies.greet(session, greeting, self._welcome(session))
        if self._departures.draining:
            self._departures.send_away(session)
            return
        for group_id in groups:
            self._handle(session, requests.Enter(0, group_id, 0, 0, delivery))

    def on_message(self, connection: Any, payload: bytes) -> None:
        """A client says something."""
        session: Session | None = connection.session
        if session is None or session.closed:
            return
        try:
            request = self._replies.codec(session).decode(payload)
        except requests.MalformedFrameError as malformed:
            self._on_malformed(session, malformed)
            return
        self._handle(session, request)

    def on_closed(self, connection: Any, code: int) -> None:
        """A connection is gone."""
        session: Session | None = connection.session
        if session is None or session.closed:
            return
        session.closed = True
        connection.session = None
        self._parts.drop_all(session)
        self._users.remove(session)
        del self._sessions[session.conn_id]
        self._counters.sessions -= 1

    def _welcome(self, session: Session) -> Welcome:
        settings = self._settings
        return Welcome(
            user_id=session.user_id,
            edge_id=self._identity.edge_id,
            conn_id=session.conn_id,
            heartbeat_interval_ms=settings.heartbeat_interval_ms,
            max_frame_bytes=settings.max_frame_bytes,
            min_send_interval_ms=settings.min_send_interval_ms,
            reconnect_base_ms=settings.reconnect_base_ms,
            reconnect_max_ms=settings.reconnect_max_ms,
        )

    def _refresh_tokens(self, session: Session) -> None:
        for group_id, part in list(session.parts.items())[:MAX_REFRESHED]:
            token = self._membership.token(session, part)
            if token:
                self._replies.send(session, Resume(group_id, token))

    # Requests -------------------------------------------------------------------------------------------------------

    def _handle(self, session: Session, request: requests.Request) -> None:
        try:
            if session.requests >= self._settings.max_requests and not isinstance(request, requests.Send | requests.Recall):
                raise ThrongError(ErrorCode.RATE_LIMITED, "too many requests wait for their answer", retry_after_ms=1_000)
            if (
                session.entering
                and isinstance(request, requests.OfGroup)
                and self._entrance.hold(session, request, request.group_id)
            ):
                return
            self._requests[type(request)](session, request)
        except ThrongError as error:
            if isinstance(request, requests.Send):
                self._submissions.refuse(session, request.request_id, request.group_id, request.client_msg_id, error)
            else:
                self._replies.fail(session, request.request_id, error, getattr(request, "group_id", ""))

    def _enter(self, session: Session, request: requests.Enter) -> None:
        self._entrance.enter(session, request, self._replay)

    def _replay(self, session: Session, held: Sequence[requests.Request]) -> None:
        for request in held:
            self._handle(session, request)

    def _of_part(self, handle: Callable[[Session, Any, Part], None]) -> Callable[[Session, Any], None]:
        def with_part(session: Session, request: Any) -> None:
            part = session.parts.get(request.group_id)
            if part is None:
                raise ThrongError(ErrorCode.NOT_ENTERED, "enter the group first")
            handle(session, request, part)

        return with_part

    def _recall(self, session: Session, request: requests.Recall) -> None:
        part = Parts.of(session, request.group_id)
        if part is None:
            error = ThrongError(ErrorCode.NOT_ENTERED, "enter the group first")
            self._submissions.refuse(session, request.request_id, request.group_id, "", error)
        else:
            self._submissions.recall(session, request, part, self._codecs.messages.recall_body(request.seq))

    def _leave(self, session: Session, request: requests.Leave) -> None:
        group_id = GroupId(request.group_id)
        entering = any(entering.group_id == group_id for entering in session.entering or ())
        self._entrance.cancel(session, group_id)
        if not self._parts.drop(session, group_id) and not entering:
            raise ThrongError(ErrorCode.NOT_ENTERED, "the group is not entered")
        self._replies.send(session, GroupLeft(group_id), request.request_id)

    def _set_visibility(self, session: Session, request: requests.SetVisibility) -> None:
        self._parts.set_hidden(session, hidden=request.hidden)

    def _ping(self, session: Session, request: requests.Ping) -> None:
        self._replies.send(session, Pong(self._clock.now_ms()), request.request_id)

    def _on_malformed(self, session: Session, malformed: requests.MalformedFrameError) -> None:
        self._counters.malformed += 1
        session.malformed += 1
        self._replies.fail(session, malformed.request_id, ThrongError(ErrorCode.MALFORMED_FRAME, malformed.text))
        if session.malformed >= self._settings.max_malformed:
            self._departures.close(session, CloseCode.ABUSIVE)

    # Events ---------------------------------------------------------------------------------------------------------

    def on_events(self, events: Sequence[EdgeEvent]) -> None:
        """Takes over what a router delivers. One event that fails does not hold up the others."""
        for event in events:
            try:
                self._events[type(event)](event)
            except Exception:
                self._counters.events_failed += 1
                _log.exception("edge_event_failed", kind=type(event).__name__)

    def on_routes_applied(self, group_ids: Sequence[GroupId] | None) -> None:
        """The registry holds routes of ours, all of them (None) or new ones: what was published before may have been missed."""
        if group_ids is None:
            self._heads.compare_all()
        else:
            self._heads.compare_gained(group_ids)

    def wants_json(self, group_id: GroupId) -> bool:
        """Some client here wants JSON for the group. Any thread."""
        room = self._rooms.get(group_id)
        return room is not None and room.json_parts > 0

    def _on_block(self, event: BlockEvent) -> None:
        room = self._rooms.get(event.group_id)
        if room is not None:
            self._feed.on_block(room, event)

    def _on_head(self, event: HeadEvent) -> None:
        room = self._rooms.get(event.group_id)
        if room is not None:
            self._feed.on_head(room, event)

    def _on_group(self, event: GroupEvent) -> None:
        room = self._rooms.get(event.group.group_id)
        if room is not None:
            self._feed.on_group(room, event)

    def _on_answer(self, event: AnswerEvent) -> None:
        session = self._sessions.get(event.conn_id)
        if session is not None:
            self._submissions.on_answer(session, event)

    def _on_acks(self, event: AcksEvent) -> None:
        self._submissions.on_acks(event, self._sessions)

    def _on_member(self, event: MemberEvent) -> None:
        self._members.on_change(event)
        self._act_on_member(event)

    def _act_on_member(self, event: MemberEvent) -> None:
        for session in self._users.sessions(event.user_id):
            self._entrance.on_member(session, event.group_id, event.role, event.muted_until_ms)
            if event.role is Role.NONE:
                if self._parts.drop(session, event.group_id):
                    self._replies.send(session, GroupRemoved(event.group_id))
            else:
                part = session.parts.get(event.group_id)
                if part is not None:
                    part.role = event.role
                    part.muted_until_ms = event.muted_until_ms

    # Time -----------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Does what is due; the door calls it every 100 ms, and `depart` after it."""
        now = self._clock.monotonic()
        self._submissions.expire()
        self._heads.tick()
        self._presence.tick()
        if now >= self._next_routes:
            self._next_routes = now + self._settings.route_interval_ms / 1000
            self._rooms.report_counts()
            self._counters.cache_bytes = self._budget.total_bytes
        if now >= self._next_cursors:
            self._next_cursors = now + self._settings.cursor_interval_ms / 1000
            self._cursors.report_due()
        self._departures.sweep(self._sessions.values)

    def depart(self) -> bool:
        """Sends away some of those who shall leave now; True: there are more, for the next turn of the loop."""
        return self._departures.depart()

    def drain(self, window_ms: int) -> int:
        """Begins to send all clients away over a window; `depart` does it. Returns how many there are."""
        self._departures.drain(list(self._sessions.values()), window_ms)
        return len(self._sessions)

    def undrain(self) -> None:
        """Takes clients in again and closes nobody any more; those who were told to leave do so all the same."""
        self._departures.undrain()

    def stop(self, done: Callable[[], None]) -> None:
        """Reports the cursors that wait; `done` is called when they are stored, or failed."""
        self._cursors.report_all(done)

    @property
    def answers_waiting(self) -> int:
        """Submissions that were appended and have no answer yet."""
        return self._submissions.answers.waiting

    def rooms_by_size(self) -> dict[str, int]:
        """Rooms by size class. Any thread."""
        return self._rooms.by_size()
