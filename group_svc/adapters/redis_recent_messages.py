"""`RecentMessages` over Redis, real or embedded: a ZSET per group that is complete from a floor to its top (hops 4 and 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from group_svc.adapters.stored_message_codec import from_envelope, to_envelope
from group_svc.ports import Page, RecentPut
from throng.adapters.redis_calls import Call, Script, command
from throng.adapters.redis_client import RedisThreads
from throng.adapters.redis_errors import checked, unless_all_failed
from throng.api.common.v1 import message_pb2
from throng.domain import limits
from throng.domain.errors import ThrongError
from throng.domain.ids import GroupId
from throng.domain.message import MessageKind, Position, StoredMessage

_SCRIPTS = "group_svc.adapters.lua"
RECENT_BYTES = 4 << 20
"""Bytes of packed messages kept of one group: room for a page of the largest ones; a thousand of chat are a fifteenth of it."""
_RECALLED = 128
_PREFIX_BYTES = 11


def pack(message: StoredMessage) -> bytes:
    """A member of the ZSET: seq (8 bytes), kind (1; plus 128 when recalled), length of the envelope (2), envelope, body.

    What follows the 11 bytes is one serialized throng.common.v1.Message; the length lets a script cut the body off.
    """
    envelope = to_envelope(message).SerializeToString()
    kind = message.kind | (_RECALLED if message.recalled_by_seq else 0)
    prefix = message.seq.to_bytes(8, "big") + bytes((kind,)) + len(envelope).to_bytes(2, "big")
    return prefix + envelope + message.body


def unpack(packed: bytes) -> StoredMessage:
    """Reads what `pack` or a script wrote."""
    body_at = _PREFIX_BYTES + int.from_bytes(packed[9:11], "big")
    envelope = message_pb2.Message.FromString(packed[_PREFIX_BYTES:body_at])
    return from_envelope(envelope, kind=MessageKind(packed[8] & ~_RECALLED), body=packed[body_at:])


class RedisRecentMessages:
    """The newest messages of each group. Every answer is one atomic look at one group; keys of a group share a hash tag."""

    def __init__(
        self,
        redis: RedisThreads,
        *,
        bound: int = limits.RECENT_MESSAGES,
        bound_bytes: int = RECENT_BYTES,
        ttl_seconds: int = 600,
    ) -> None:
        """Sends nothing yet.

        Args:
            redis: where the messages are kept.
            bound: messages kept per group.
            bound_bytes: bytes of them kept per group, packed; the newest message is kept whatever its size.
            ttl_seconds: a group whose head did not move for so long is forgotten and read from the store again.
        """
        self._redis = redis
        self._bound = bound
        self._bound_bytes = bound_bytes
        self._ttl_seconds = ttl_seconds
        self._put = Script(_SCRIPTS, "recent_put.lua")
        self._raise_head = Script(_SCRIPTS, "recent_raise_head.lua")
        self._read = Script(_SCRIPTS, "recent_read.lua")

    def put(self, group_id: GroupId, epoch: int, messages: Sequence[StoredMessage], recalled: Sequence[int]) -> None:
        """One script call; see `RecentMessages.put`. Messages of an older epoch change nothing."""
        checked(self._redis.run([self._put_call(RecentPut(group_id, epoch, messages, recalled))]))

    def put_many(self, puts: Sequence[RecentPut]) -> list[ThrongError | None]:
        """One round trip (per node of a cluster) for all of them."""
        results = self._redis.run([self._put_call(put) for put in puts])
        return [result if isinstance(result, ThrongError) else None for result in results]

    def _put_call(self, put: RecentPut) -> Call:
        messages = put.messages[-self._bound :]
        args: list[Any] = [put.epoch, self._bound, self._bound_bytes, self._ttl_seconds, len(messages)]
        for message in messages:
            args += (message.seq, pack(message))
        for target_seq, event_seq in _recalls(messages, put.recalled):
            args += (target_seq, event_seq)
        return self._put.on(_keys(put.group_id), args)

    def read_after(self, group_id: GroupId, *, after_seq: int, up_to_seq: int, limit: int) -> Page | None:
        """One script call. None also when the caller knows of a seq above the head that is known here."""
        last = min(up_to_seq or after_seq + limit, after_seq + limit)
        known, members = self._read_range(group_id, "after", after_seq + 1, last)
        if known is None or max(after_seq, up_to_seq) > known.seq:
            return None
        return _page(known, after_seq, min(last, known.seq), members)

    def read_before(self, group_id: GroupId, *, before_seq: int, limit: int) -> Page | None:
        """One script call. None also when the caller knows of a seq above the head that is known here."""
        known, members = self._read_range(group_id, "before", f"({before_seq}" if before_seq else "+inf", limit)
        if known is None or before_seq > known.seq + 1:
            return None
        last = before_seq - 1 if before_seq else known.seq
        return _page(known, max(0, last - limit), last, members[::-1])

    def get_heads(self, group_ids: Sequence[GroupId]) -> list[Position | None]:
        """One round trip for all groups; None also for those whose part of a cluster is away, if others answered."""
        calls = [command("HMGET", _keys(group_id)[1], "epoch", "seq") for group_id in group_ids]
        answers = unless_all_failed(self._redis.run(calls)) if calls else []
        return [None if fields is None else _position(fields) for fields in answers]

    def put_heads(self, heads: Sequence[tuple[GroupId, Position]]) -> None:
        """One round trip for all groups."""
        calls = [
            self._raise_head.on(_keys(group_id), [position.epoch, position.seq, self._ttl_seconds]) for group_id, position in heads
        ]
        if calls:
            checked(self._redis.run(calls))

    def _read_range(self, group_id: GroupId, verb: str, *bounds: object) -> tuple[Position | None, list[bytes]]:
        ((fields, members),) = checked(self._redis.run([self._read.on(_keys(group_id)[:2], [verb, *bounds])]))
        return _position(fields), members


def _keys(group_id: GroupId) -> tuple[str, str, str]:
    return (f"throng:group:recent:{{{group_id}}}", f"throng:group:head:{{{group_id}}}", f"throng:group:recalled:{{{group_id}}}")


def _position(fields: Sequence[bytes | None]) -> Position | None:
    epoch, seq = fields
    return None if epoch is None or seq is None else Position(int(epoch), int(seq))


def _recalls(messages: Sequence[StoredMessage], recalled: Sequence[int]) -> list[tuple[int, int]]:
    """(target, event) as far as `messages` tell, by an event or by a blanked target, then (target, 0) of others that are named."""
    events = {message.seq: message.recalled_by_seq for message in messages if message.recalled_by_seq}
    for message in messages:
        if message.kind is MessageKind.RECALL:
            events[message_pb2.Message.FromString(message.body).recall.target_seq] = message.seq
    return [*events.items(), *((target, 0) for target in recalled if target not in events)]


def _page(known: Position, after_seq: int, last: int, members: Sequence[bytes]) -> Page | None:
    """The page (`after_seq`, `last`], or None when a message of it is missing."""
    seqs = [int.from_bytes(member[:8], "big") for member in members]
    if seqs != list(range(after_seq + 1, last + 1)):
        return None
    return Page(known.epoch, known.seq, after_seq, [unpack(member) for member in members])
