"""Which node is asked: the slot map, when it is read again, and nodes that did not answer a moment ago."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from typing import Any

from throng.adapters.redis_calls import SINGLE, Address, SlotMap

_REFRESH_SECONDS = 0.5
_HOLD_SECONDS = 2.0


class NodeDirectory:
    """What is known of a cluster's nodes; of a single server, that there is one. Any thread."""

    def __init__(self, seeds: Sequence[Address], *, cluster: bool) -> None:
        self.slots: SlotMap | None = None
        self.loaded: set[tuple[Address, str]] = set()
        """Where scripts are known to be."""
        self._seeds = list(seeds)
        self._cluster = cluster
        self._lock = threading.Lock()
        self._stale = cluster
        self._read_at = float("-inf")
        self._held: dict[Address, float] = {}

    def place(self, address: Address) -> Address:
        """The address to dial."""
        return self._seeds[0] if address == SINGLE else address

    @property
    def wants_map(self) -> bool:
        """The slot map is missing, or did not fit and was not read again just now."""
        return self._cluster and (self.slots is None or (self._stale and time.monotonic() - self._read_at > _REFRESH_SECONDS))

    def note_stale(self) -> None:
        """The slot map did not fit."""
        self._stale = self._cluster

    def to_ask(self) -> list[Address]:
        """Nodes that may be asked for the slot map, in a random order, those that did not answer a moment ago last."""
        with self._lock:
            known = dict.fromkeys([*(self.slots.nodes if self.slots is not None else ()), *self._seeds])
        nodes = list(known)
        random.shuffle(nodes)
        return sorted(nodes, key=self.is_held)

    def learn(self, answer: Sequence[Any], asked: Address) -> SlotMap:
        """Takes over what a node answered to CLUSTER SLOTS."""
        slots = SlotMap(answer, asked=asked)
        with self._lock:
            self.slots = slots
            self._stale = False
            self._read_at = time.monotonic()
        return slots

    def note_unread(self) -> None:
        """No node told the slot map: the old one, if any, is used on for a moment."""
        self._read_at = time.monotonic()

    def hold(self, address: Address) -> None:
        """A node of a cluster did not answer in time: others are not kept waiting by it again at once."""
        if self._cluster:
            self._held[address] = time.monotonic() + _HOLD_SECONDS

    def release(self, address: Address) -> None:
        """A node answered."""
        if self._held:
            self._held.pop(address, None)

    def is_held(self, address: Address) -> bool:
        """The node did not answer in time a moment ago."""
        return bool(self._held) and self._held.get(address, 0.0) > time.monotonic()
