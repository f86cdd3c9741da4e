"""Sessions' parts in groups: begun, ended and moved between blocks and notices in one place (I9)."""

from __future__ import annotations

from edge.core.replies import Replies
from edge.core.responses import Notice, Online
from edge.core.room import wants_of
from edge.core.rooms import Rooms
from edge.core.session import Part, Session
from throng.domain.ids import GroupId
from throng.ports.clock import Clock


class Parts:
    """Keeps rooms' sockets and holds in step with sessions' parts."""

    def __init__(self, rooms: Rooms, replies: Replies, clock: Clock) -> None:
        self.rooms = rooms
        self.replies = replies
        self._clock = clock

    def drop(self, session: Session, group_id: GroupId) -> bool:
        """Ends a part: nothing of the group is sent on this connection from here on. False: there was none."""
        part = session.parts.pop(group_id, None)
        if part is None:
            return False
        part.room.remove(session.connection, wants=wants_of(part.delivery, hidden=session.hidden))
        self.rooms.release(part.room)
        if not session.parts:
            session.idle_since = self._clock.monotonic()
        return True

    def set_hidden(self, session: Session, *, hidden: bool) -> None:
        """Moves all parts to counts and back. Frames that wait for the old place are not sent: the head stands for them, and by it
        the client pulls what it missed once it is shown."""
        if hidden == session.hidden:
            return
        for group_id, part in session.parts.items():
            room = part.room
            room.remove(session.connection, wants=wants_of(part.delivery, hidden=session.hidden))
            room.add(session.connection, wants=wants_of(part.delivery, hidden=hidden))
            if room.head:
                self.replies.send(session, Notice(group_id, room.epoch, room.head))
            if room.online_told and not hidden:
                self.replies.send(session, Online(group_id, room.online_told))
        session.hidden = hidden

    def drop_all(self, session: Session) -> None:
        """Ends all parts of a session that is closed."""
        for group_id in list(session.parts):
            self.drop(session, group_id)

    @staticmethod
    def of(session: Session, group_id: str) -> Part | None:
        """The part of a session in a group."""
        return session.parts.get(GroupId(group_id))
