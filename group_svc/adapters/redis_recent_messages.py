"""`RecentMessages` over Redis, real or embedded: a ZSET per group that is complete from a floor to its top (hops 4 and 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis.exceptions

from group_svc.adapters.stored_message_codec import from_envelope, to_envelope
from group_svc.ports import Page
from throng.adapters.redis_client import read_script, translated
from throng.api.common.v1 import message_pb2
from throng.domain import limits
from throng.domain.ids import GroupId
from throng.domain.message import MessageKind, Position, StoredMessage

T = TypeVar("T")

_SCRIPTS = "group_svc.adapters.lua"
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

    def __init__(self, client: Any, *, bound: int = limits.RECENT_MESSAGES, ttl_seconds: int = 600) -> None:
        """Keeps the client; nothing is sent yet.

        Args:
            client: from `throng.adapters.redis_client.connect`.
            bound: messages kept per group.
            ttl_seconds: a group whose head did not move for so long is forgotten and read from the store again.
        """
        self._client = client
        self._bound = bound
        self._ttl_seconds = ttl_seconds
        self._put = client.register_script(read_script(_SCRIPTS, "recent_put.lua"))
        self._raise_head = client.register_script(read_script(_SCRIPTS, "recent_raise_head.lua"))

    def put(self, group_id: GroupId, epoch: int, messages: Sequence[StoredMessage], recalled: Sequence[int]) -> None:
        """One script call; see `RecentMessages.put`. Messages of an older epoch change nothing."""
        messages = messages[-self._bound :]
        args: list[Any] = [epoch, self._bound, self._ttl_seconds, len(messages)]
        for message in messages:
            args += (message.seq, pack(message))
        for target_seq, event_seq in _recalls(messages, recalled):
            args += (target_seq, event_seq)
        _run(lambda: self._put(keys=_keys(group_id), args=args))

    def read_after(self, group_id: GroupId, *, after_seq: int, up_to_seq: int, limit: int) -> Page | None:
        """One round trip. None also when the caller knows of a seq above the head that is known here."""
        last = min(up_to_seq or after_seq + limit, after_seq + limit)
        known, members = self._read(group_id, lambda pipe, key: pipe.zrangebyscore(key, after_seq + 1, last))
        if known is None or max(after_seq, up_to_seq) > known.seq:
            return None
        return _page(known, after_seq, min(last, known.seq), members)

    def read_before(self, group_id: GroupId, *, before_seq: int, limit: int) -> Page | None:
        """One round trip. None also when the caller knows of a seq above the head that is known here."""
        below = f"({before_seq}" if before_seq else "+inf"
        known, members = self._read(group_id, lambda pipe, key: pipe.zrevrangebyscore(key, below, "-inf", start=0, num=limit))
        if known is None or before_seq > known.seq + 1:
            return None
        last = before_seq - 1 if before_seq else known.seq
        return _page(known, max(0, last - limit), last, members[::-1])

    def get_heads(self, group_ids: Sequence[GroupId]) -> list[Position | None]:
        """One pipeline for all groups."""
        if not group_ids:
            return []

        def fetch() -> Any:
            pipe = self._client.pipeline(transaction=False)
            for group_id in group_ids:
                pipe.hmget(_keys(group_id)[1], "epoch", "seq")
            return pipe.execute()

        return [_position(fields) for fields in _run(fetch)]

    def put_heads(self, heads: Sequence[tuple[GroupId, Position]]) -> None:
        """One pipeline for all groups."""
        if not heads:
            return

        def send() -> None:
            pipe = self._client.pipeline(transaction=False)
            for group_id, position in heads:
                args = [position.epoch, position.seq, self._ttl_seconds]
                self._raise_head(keys=_keys(group_id), args=args, client=pipe)
            pipe.execute()

        _run(send)

    def _read(self, group_id: GroupId, add_range: Callable[[Any, str], object]) -> tuple[Position | None, list[bytes]]:
        recent, state, _ = _keys(group_id)

        def fetch() -> Any:
            pipe = self._client.pipeline(transaction=True)
            pipe.hmget(state, "epoch", "seq")
            add_range(pipe, recent)
            return pipe.execute()

        fields, members = _run(fetch)
        return _position(fields), members


def _keys(group_id: GroupId) -> tuple[str, str, str]:
    return (f"throng:group:recent:{{{group_id}}}", f"throng:group:head:{{{group_id}}}", f"throng:group:recalled:{{{group_id}}}")


def _run(call: Callable[[], T]) -> T:
    """Calls, and once more when the script cache was flushed between a pipeline's check and its run: all calls are idempotent."""
    with translated():
        try:
            return call()
        except redis.exceptions.NoScriptError:
            return call()


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
