"""What is asked of Redis, apart from how it travels: calls and their keys, scripts, slots of a cluster, what is asked again.

A call goes to the node that holds its key; a script's keys share one hash tag. All of the calls of an exchange may be repeated with
the same arguments (that is a promise of the adapters), so that an answer which was lost, or a script which a node did not know,
costs one more round trip and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, NamedTuple

import redis.exceptions
from redis.crc import key_slot

Address = tuple[str, int]
SINGLE: Address = ("", 0)
"""The address of the only server there is."""
MAX_ROUNDS = 6
_TRY_AGAIN_SECONDS = 0.02
_REDIRECTS = (redis.exceptions.MovedError, redis.exceptions.AskError, redis.exceptions.TryAgainError)


class Script:
    """A Lua file, perhaps behind one that several share, and the digest by which it is called."""

    def __init__(self, package: str, name: str, *, after: str = "") -> None:
        """Reads the file `name` that lies in `package`; `after`: a file of functions whose text stands before it."""
        self.files = (after, name) if after else (name,)
        self.text = "".join(resources.files(package).joinpath(file).read_text(encoding="utf-8") for file in self.files)
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def on(self, keys: Sequence[str], args: Sequence[object], *, stage: int = 0) -> Call:
        """A call of the script; `keys` share one hash tag."""
        return Call(("EVALSHA", self.sha, len(keys), *keys, *args), keys[0], self, stage)


class Call(NamedTuple):
    """One command.

    Attributes:
        args: name and arguments.
        key: the command goes to the node that holds it; it need not stand in `args` (a publication has none).
        script: the script that it calls.
        stage: sent only when every call of a lower stage has succeeded; on a single server all of them travel together.
    """

    args: tuple[Any, ...]
    key: str
    script: Script | None = None
    stage: int = 0


def command(name: str, key: str, *args: object, stage: int = 0) -> Call:
    """A call of a command whose first argument is its key."""
    return Call((name, key, *args), key, None, stage)


class SlotMap:
    """Which node holds which slot. Replaced as a whole, or corrected slot by slot; both are atomic to readers in other threads."""

    def __init__(self, answer: Sequence[Any], *, asked: Address) -> None:
        """Reads what CLUSTER SLOTS answered; a node without a name is the one that was `asked`."""
        self._owners: list[Address | None] = [None] * 16_384
        for entry in answer:
            host, port = entry[2][0], int(entry[2][1])
            name = host.decode() if isinstance(host, bytes) else str(host or "")
            owner = (name or asked[0], port)
            self._owners[int(entry[0]) : int(entry[1]) + 1] = [owner] * (int(entry[1]) + 1 - int(entry[0]))
        self.nodes: list[Address] = sorted({owner for owner in self._owners if owner is not None})

    def owner(self, key: str) -> Address | None:
        """The node of a key; None: nobody holds its slot."""
        return self._owners[key_slot(key.encode())]

    def move(self, slot: int, owner: Address) -> None:
        """One slot is elsewhere."""
        self._owners[slot] = owner
        if owner not in self.nodes:
            self.nodes = sorted([*self.nodes, owner])


@dataclass(slots=True)
class Batch:
    """What goes to one node in one round trip: `sent` are the commands; the answers from `skip` on are those of `calls`."""

    address: Address
    calls: list[int] = field(default_factory=list)
    scripts: dict[str, Script] = field(default_factory=dict)
    asking: set[int] = field(default_factory=set)


class Exchange:
    """The state of one group of calls: which are still to be sent where, and what was answered.

    Repeated are: calls of a script that the node did not know, redirected calls, and, once, calls whose connection broke; with each
    of them, so that nothing overtakes, the calls on the same key and of later stages that were sent after it.
    """

    def __init__(self, calls: Sequence[Call], loaded: set[tuple[Address, str]]) -> None:
        """`loaded`: where scripts, by their digests, are known to be; kept from one exchange to the next, and kept up here."""
        self.calls = calls
        self.results: list[Any] = [None] * len(calls)
        self.pause_seconds = 0.0
        """To wait before the next round."""
        self.stale = False
        """The slot map does not fit any more."""
        self.waiting: set[Address] = set()
        """Nodes that were asked and have not answered."""
        self._open = set(range(len(calls)))
        self._loaded = loaded
        self._asked: dict[int, Address] = {}
        self._broken_once = False
        self._rounds = 0

    def batches(self, slots: SlotMap | None) -> list[Batch]:
        """What to send now; empty: the exchange is over."""
        self.pause_seconds = 0.0
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            self._open.clear()
        by_node: dict[Address, Batch] = {}
        stage = min((self.calls[index].stage for index in self._open), default=0)
        for index in sorted(self._open):
            call = self.calls[index]
            if slots is not None and call.stage > stage:
                continue
            address = SINGLE if slots is None else self._asked.get(index) or slots.owner(call.key)
            if address is None:
                self.stale = True
                self.results[index] = redis.exceptions.ClusterDownError("nobody holds the slot")
                self._open.discard(index)
                continue
            batch = by_node.setdefault(address, Batch(address))
            batch.calls.append(index)
            if call.script is not None and (address, call.script.sha) not in self._loaded:
                batch.scripts[call.script.sha] = call.script
            if index in self._asked:
                batch.asking.add(index)
        self._asked.clear()
        return list(by_node.values())

    def commands(self, batch: Batch) -> Iterator[tuple[Any, ...]]:
        """The commands of a batch, as they are sent."""
        for script in batch.scripts.values():
            yield ("SCRIPT", "LOAD", script.text)
        for index in batch.calls:
            if index in batch.asking:
                yield ("ASKING",)
            yield self.calls[index].args

    def answered(self, batch: Batch, answers: Sequence[Any], slots: SlotMap | None) -> None:
        """Takes over the answers to `commands`, exceptions among them in their places."""
        self._loaded.update((batch.address, sha) for sha in batch.scripts)
        at = len(batch.scripts)
        again: set[str] = set()
        for index in batch.calls:
            at += index in batch.asking
            answer, call = answers[at], self.calls[index]
            at += 1
            self.results[index] = answer
            if self._repeats(batch.address, index, answer, slots) or call.key in again:
                again.add(call.key)
            else:
                self._open.discard(index)
        if again:
            first = min(self.calls[index].stage for index in self._open)
            self._open.update(index for index in batch.calls if self.calls[index].stage > first)

    def broke(self, batch: Batch, error: Exception, *, sent: bool) -> bool:
        """The connection broke or nothing came in time; says whether the calls are sent again. `sent`: after it had been open."""
        self.stale = True
        timed_out = isinstance(error, (redis.exceptions.TimeoutError, TimeoutError))
        again = sent and not timed_out and not self._broken_once
        for index in batch.calls:
            self.results[index] = error
            if not again:
                self._open.discard(index)
        self._broken_once = self._broken_once or again
        return again

    def elsewhere(self, slots: SlotMap, before: SlotMap | None) -> None:
        """A newer map: calls that failed at a node which holds their slot no more are sent again."""
        for index, result in enumerate(self.results):
            key = self.calls[index].key
            if (
                isinstance(result, redis.exceptions.ConnectionError)
                and before is not None
                and slots.owner(key) != before.owner(key)
            ):
                self._open.add(index)

    def fail(self, error: Exception) -> None:
        """Nothing can be sent at all."""
        for index in self._open:
            self.results[index] = error
        self._open.clear()

    def skip_later_stages(self) -> None:
        """After the last round of a stage: what failed keeps later stages from being sent."""
        failed = [index for index, result in enumerate(self.results) if isinstance(result, Exception) and index not in self._open]
        if failed:
            stage = min(self.calls[index].stage for index in failed)
            for index in [index for index in self._open if self.calls[index].stage > stage]:
                self.results[index] = self.results[failed[0]]
                self._open.discard(index)

    def _repeats(self, address: Address, index: int, answer: Any, slots: SlotMap | None) -> bool:
        call = self.calls[index]
        if isinstance(answer, redis.exceptions.ResponseError) and call.script is not None and _is_noscript(answer):
            self._loaded.discard((address, call.script.sha))
            return True
        if slots is None or not isinstance(answer, _REDIRECTS):
            self.stale = self.stale or isinstance(answer, redis.exceptions.ClusterDownError)
            return False
        if isinstance(answer, redis.exceptions.TryAgainError):
            self.pause_seconds = _TRY_AGAIN_SECONDS
        elif isinstance(answer, redis.exceptions.AskError):
            # A MovedError is an AskError to redis-py; only a move is for ever.
            target = (answer.host or address[0], int(answer.port))
            if isinstance(answer, redis.exceptions.MovedError):
                slots.move(answer.slot_id, target)
                self.stale = True
            else:
                self._asked[index] = target
        return True


def _is_noscript(error: redis.exceptions.ResponseError) -> bool:
    return isinstance(error, redis.exceptions.NoScriptError) or "NOSCRIPT" in str(error)
