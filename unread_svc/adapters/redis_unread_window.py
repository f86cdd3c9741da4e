"""`UnreadWindow` in Redis, real or embedded: a ZSET and a hash per group, one hash tag, all work in Lua (hops 5b and 8)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from throng.adapters.redis_calls import Call, Script
from throng.adapters.redis_client import RedisThreads
from throng.adapters.redis_errors import checked, unless_all_failed
from throng.domain.ids import GroupId, UserId
from throng.domain.limits import UNREAD_WINDOW
from unread_svc.ports import Countable, Observation, Observed, WindowView

T = TypeVar("T")

_SCRIPTS = "unread_svc.adapters.lua"
_CALLS_PER_EXCHANGE = 500


class RedisUnreadWindow:
    """`UnreadWindow` over `throng.adapters.redis_client.RedisThreads`.

    The window and its hash may be evicted one without the other: the hash holds the window's size, and a difference counts as
    a missing window.
    """

    def __init__(self, redis: RedisThreads, *, lifetime_seconds: int) -> None:
        """`lifetime_seconds`: a window goes when nothing was observed for so long."""
        self._redis = redis
        self._lifetime_seconds = lifetime_seconds
        self._observe = Script(_SCRIPTS, "observe.lua")
        self._install = Script(_SCRIPTS, "install.lua")
        self._read = Script(_SCRIPTS, "read.lua")

    def observe(self, observations: Sequence[Observation]) -> list[Observed]:
        """Applies observations in order; one round trip for 500."""
        answers: list[bytes] = []
        for part in _parts(observations):
            calls = [self._observe.on(_keys(one.group_id), self._observe_arguments(one)) for one in part]
            answers += checked(self._redis.run(calls))
        return [Observed(answer.decode()) for answer in answers]

    def _observe_arguments(self, observation: Observation) -> list[object]:
        arguments: list[object] = [
            UNREAD_WINDOW,
            self._lifetime_seconds,
            observation.epoch,
            observation.prev_seq,
            observation.head_seq,
            len(observation.added),
        ]
        for entry in observation.added:
            arguments += entry
        arguments += observation.removed_seqs
        return arguments

    def install(self, group_id: GroupId, view: WindowView) -> bool:
        """Replaces the window by a rebuilt one."""
        arguments: list[object] = [self._lifetime_seconds, view.epoch, view.head_seq, view.floor_seq]
        for entry in view.entries:
            arguments += entry
        return bool(checked(self._redis.run([self._install.on(_keys(group_id), arguments)]))[0])

    def read(self, wanted: Sequence[tuple[GroupId, int]]) -> list[WindowView | None]:
        """Reads the windows above the seqs; one round trip for 500. None also where a part of a cluster is away."""
        answers: list[list[bytes] | None] = []
        for part in _parts(wanted):
            calls: list[Call] = [self._read.on(_keys(group_id), [after_seq]) for group_id, after_seq in part]
            answers += unless_all_failed(self._redis.run(calls))
        return [_view(answer, after_seq) for answer, (_, after_seq) in zip(answers, wanted, strict=True)]

    def close(self) -> None:
        """Closes the connections."""
        self._redis.close()


def _keys(group_id: GroupId) -> tuple[str, str]:
    return f"throng:unread:recent:{{{group_id}}}", f"throng:unread:meta:{{{group_id}}}"


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + _CALLS_PER_EXCHANGE] for start in range(0, len(items), _CALLS_PER_EXCHANGE))


def _view(answer: list[bytes] | None, after_seq: int) -> WindowView | None:
    if not answer:
        return None
    epoch, head_seq, floor_seq, size = (int(number) for number in answer[:4])
    return WindowView(epoch, head_seq, max(floor_seq, after_seq), size, tuple(map(_entry, answer[4:])))


def _entry(member: bytes) -> Countable:
    seq, _, sender_id = member.partition(b":")
    return Countable(int(seq), UserId(sender_id.decode()))
