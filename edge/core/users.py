"""Users with a connection here: their sessions, when they last sent, and what was ACKed to them just now (hop 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge.core.session import Session
from throng.domain.ids import GroupId, UserId
from throng.domain.quick_values import quick_value

KEPT_ACKS = 16
KEPT_SENDS = 64


@quick_value(frozen=True, slots=True)
class KeptAck:
    """An ACK that is given again when the same message comes again."""

    group_id: GroupId
    body_hash: int
    epoch: int
    seq: int
    sent_at_ms: int


class User:
    """One user. What he sent is made on the first message."""

    __slots__ = ("acks", "last_sends", "sessions", "user_id")

    def __init__(self, user_id: UserId) -> None:
        self.user_id = user_id
        self.sessions: tuple[Session, ...] = ()
        self.last_sends: dict[GroupId, tuple[float, str]] | None = None
        self.acks: dict[str, KeptAck] | None = None

    def wait_seconds(self, group_id: GroupId, client_msg_id: str, interval_seconds: float, now: float) -> float:
        """Seconds until this message may be sent; 0.0: now. The one that was taken last may always come again."""
        last = self.last_sends.get(group_id) if self.last_sends else None
        if last is None or last[1] == client_msg_id:
            return 0.0
        return max(0.0, last[0] + interval_seconds - now)

    def note_send(self, group_id: GroupId, client_msg_id: str, now: float) -> None:
        """A message was taken."""
        sends = self.last_sends
        if sends is None:
            sends = self.last_sends = {}
        if sends.pop(group_id, None) is None and len(sends) >= KEPT_SENDS:
            del sends[next(iter(sends))]
        sends[group_id] = (now, client_msg_id)

    def sent_last(self, group_id: GroupId, client_msg_id: str) -> bool:
        """This message was the one that was taken last: what comes now is a repeat of it."""
        last = self.last_sends.get(group_id) if self.last_sends else None
        return last is not None and last[1] == client_msg_id

    def forget_send(self, group_id: GroupId, client_msg_id: str) -> None:
        """A message was refused after all; it costs its sender no waiting."""
        if self.last_sends and self.last_sends.get(group_id, (0.0, ""))[1] == client_msg_id:
            del self.last_sends[group_id]

    def keep_ack(self, client_msg_id: str, ack: KeptAck) -> None:
        """Remembers an ACK; the oldest is forgotten."""
        acks = self.acks
        if acks is None:
            acks = self.acks = {}
        acks.pop(client_msg_id, None)
        if len(acks) >= KEPT_ACKS:
            del acks[next(iter(acks))]
        acks[client_msg_id] = ack

    def kept_ack(self, client_msg_id: str) -> KeptAck | None:
        """The ACK of a message, as long as it is remembered."""
        return self.acks.get(client_msg_id) if self.acks else None


class Users:
    """All users with a session here."""

    def __init__(self) -> None:
        self._users: dict[UserId, User] = {}

    def get_or_make(self, user_id: UserId) -> User:
        """The user; one without a session is not kept."""
        return self._users.get(user_id) or User(user_id)

    def sessions(self, user_id: UserId) -> Sequence[Session]:
        """The user's sessions here."""
        user = self._users.get(user_id)
        return () if user is None else user.sessions

    def add(self, session: Session) -> None:
        """A session begins."""
        user = session.user
        user.sessions = (*user.sessions, session)
        self._users[user.user_id] = user

    def remove(self, session: Session) -> None:
        """A session ends; a user without one is forgotten."""
        user = session.user
        user.sessions = tuple(other for other in user.sessions if other is not session)
        if not user.sessions:
            self._users.pop(user.user_id, None)

    def __iter__(self) -> Iterator[User]:
        return iter(self._users.values())
