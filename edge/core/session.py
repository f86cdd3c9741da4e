"""One client's session, and its part in each group; slotted, for an edge holds tens of thousands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.core.links import ClientLink
from throng.domain.group import Delivery, Role
from throng.domain.ids import ConnId, GroupId, UserId

if TYPE_CHECKING:
    from edge.core.entering import Entering
    from edge.core.room import Room
    from edge.core.submissions import InFlight
    from edge.core.users import User


class Part:
    """One connection's part in one group, from `entered` until it leaves.

    Attributes:
        delivery: INLINE or NOTIFY, as asked; a hidden page gets notices all the same.
        read_seq: newest cursor that was noted here; older reports change nothing.
    """

    __slots__ = ("delivery", "muted_until_ms", "read_seq", "role", "room")

    def __init__(self, room: Room, *, delivery: Delivery, role: Role, muted_until_ms: int, read_seq: int) -> None:
        self.room = room
        self.delivery = delivery
        self.role = role
        self.muted_until_ms = muted_until_ms
        self.read_seq = read_seq


class Session:
    """What the edge knows of one connection. Hub thread only.

    Attributes:
        expires_at_ms: end of the token, milliseconds since 1970 UTC; 0: never.
        idle_since: monotonic seconds since when it takes part in nothing; 0.0: it takes part.
        requests: requests under way, submissions not counted.
        in_flight: submissions without an answer, by client_msg_id; None while there was none.
        entering: enters under way; None while there is none.
        closing: we close the connection; nothing more is sent on it.
        closed: the connection is gone.
    """

    __slots__ = (
        "closed",
        "closing",
        "conn_id",
        "connection",
        "display_name",
        "entering",
        "expires_at_ms",
        "hidden",
        "idle_since",
        "in_flight",
        "malformed",
        "parts",
        "requests",
        "user",
    )

    def __init__(self, connection: ClientLink, conn_id: ConnId, user: User, display_name: str, expires_at_ms: int) -> None:
        self.connection = connection
        self.conn_id = conn_id
        self.user = user
        self.display_name = display_name
        self.expires_at_ms = expires_at_ms
        self.parts: dict[GroupId, Part] = {}
        self.in_flight: dict[str, InFlight] | None = None
        self.entering: list[Entering] | None = None
        self.idle_since = 0.0
        self.requests = 0
        self.malformed = 0
        self.hidden = False
        self.closing = False
        self.closed = False

    @property
    def user_id(self) -> UserId:
        """Who the token says the user is."""
        return self.user.user_id
