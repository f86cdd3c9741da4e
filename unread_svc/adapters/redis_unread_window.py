"""`UnreadWindow` in Redis, real or embedded: a ZSET and a hash per group, one hash tag, all work in Lua (hops 5b and 8)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from throng.adapters.redis_client import read_script, translated
from throng.domain.ids import GroupId, UserId
from throng.domain.limits import UNREAD_WINDOW
from unread_svc.ports import Countable, Observation, Observed, WindowView

_SCRIPTS = "unread_svc.adapters.lua"
_CALLS_PER_PIPELINE = 500
_Call = tuple[str, GroupId, list[object]]


class _Script:
    """One Lua file and its digest."""

    def __init__(self, name: str) -> None:
        self.text = read_script(_SCRIPTS, name)
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class RedisUnreadWindow:
    """`UnreadWindow` over a client of `throng.adapters.redis_client.connect`.

    The window and its hash may be evicted one without the other: the hash holds the window's size, and a difference counts as
    a missing window.
    """

    def __init__(self, client: Any, *, lifetime_seconds: int) -> None:
        """`lifetime_seconds`: a window goes when nothing was observed for so long."""
        self._client = client
        self._lifetime_seconds = lifetime_seconds
        self._observe = _Script("observe.lua")
        self._install = _Script("install.lua")
        self._read = _Script("read.lua")

    def observe(self, observations: Sequence[Observation]) -> list[Observed]:
        """Applies observations in order, pipelined."""
        calls = [(self._observe.sha, observation.group_id, self._observe_arguments(observation)) for observation in observations]
        return [Observed(answer.decode()) for answer in self._run(calls)]

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
        return bool(self._run([(self._install.sha, group_id, arguments)])[0])

    def read(self, wanted: Sequence[tuple[GroupId, int]]) -> list[WindowView | None]:
        """Reads the windows above the seqs, pipelined."""
        answers = self._run([(self._read.sha, group_id, [after_seq]) for group_id, after_seq in wanted])
        return [_view(answer, after_seq) for answer, (_, after_seq) in zip(answers, wanted, strict=True)]

    def close(self) -> None:
        """Closes the connections of the client."""
        self._client.close()

    def _run(self, calls: Sequence[_Call]) -> list[Any]:
        """Runs scripts in pipelines; a server that lost the scripts (restart, SCRIPT FLUSH) gets them and is asked again."""
        answers: list[Any] = []
        with translated():
            for start in range(0, len(calls), _CALLS_PER_PIPELINE):
                part = calls[start : start + _CALLS_PER_PIPELINE]
                try:
                    answers += self._pipelined(part)
                except NoScriptError:
                    # The scripts are idempotent: those of the pipeline that did run may run again.
                    for script in (self._observe, self._install, self._read):
                        self._client.script_load(script.text)
                    answers += self._pipelined(part)
        return answers

    def _pipelined(self, calls: Sequence[_Call]) -> list[Any]:
        with self._client.pipeline(transaction=False) as pipeline:
            for sha, group_id, arguments in calls:
                pipeline.evalsha(sha, 2, f"throng:unread:recent:{{{group_id}}}", f"throng:unread:meta:{{{group_id}}}", *arguments)
            answers: list[Any] = pipeline.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, NoScriptError) or (isinstance(answer, ResponseError) and "NOSCRIPT" in str(answer)):
                raise NoScriptError from answer
            if isinstance(answer, Exception):
                raise answer
        return answers


def _view(answer: list[bytes], after_seq: int) -> WindowView | None:
    if not answer:
        return None
    epoch, head_seq, floor_seq, size = (int(number) for number in answer[:4])
    return WindowView(epoch, head_seq, max(floor_seq, after_seq), size, tuple(map(_entry, answer[4:])))


def _entry(member: bytes) -> Countable:
    seq, _, sender_id = member.partition(b":")
    return Countable(int(seq), UserId(sender_id.decode()))
