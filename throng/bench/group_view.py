"""What the receivers of one process saw of one group: which message at which seq, and when the last of them had it."""

from __future__ import annotations

import time
from array import array
from collections import deque

from throng.bench.findings import Finding, Findings, Kind
from throng.bench.latencies import Latencies
from throng.bench.pages import Page
from throng.bench.series import Slot

MAX_SPAN = 20_000_000
"""Seqs of one group that are remembered; beyond it nothing is compared (a plan is bounded far below)."""


MAX_HEADS = 100_000
"""Rises of a head remembered while some receiver is below them; later ones are left out, for the oldest one counts."""


class GroupView:
    """Digests, times of writing and times of the last delivery by seq; bounded by `MAX_SPAN`.

    Attributes:
        epoch: epoch of what is remembered; a newer one starts anew.
        base_seq: seq before the first that is remembered; -1 until a receiver has entered.
        known_head: highest seq that anyone in this process has heard of.
    """

    def __init__(self, group_id: str, findings: Findings, lag: Latencies, slot: Slot, slow_lag: Latencies | None = None) -> None:
        self.group_id = group_id
        self.epoch = 0
        self.base_seq = -1
        self.known_head = 0
        self.digests = array("Q")
        self.created_ns = array("q")
        self.shown_ns = array("q")
        self.slot = slot
        self._findings = findings
        self._lag = lag
        self._slow_lag = Latencies() if slow_lag is None else slow_lag
        self._heads: deque[tuple[int, int]] = deque(maxlen=MAX_HEADS)

    def start(self, epoch: int, base_seq: int) -> None:
        """A receiver has entered: what comes after `base_seq` counts. An earlier base of the same epoch stands."""
        if epoch < self.epoch or (epoch == self.epoch and 0 <= self.base_seq <= base_seq):
            return
        if epoch == self.epoch and self.base_seq > base_seq:
            more = min(self.base_seq - base_seq, MAX_SPAN)
            self.digests = array("Q", bytes(8 * more)) + self.digests
            self.created_ns = array("q", bytes(8 * more)) + self.created_ns
            self.shown_ns = array("q", bytes(8 * more)) + self.shown_ns
            self.base_seq = base_seq
            return
        self.epoch, self.base_seq, self.known_head = epoch, base_seq, base_seq
        self.digests, self.created_ns, self.shown_ns = array("Q"), array("q"), array("q")
        self._heads.clear()

    def hear(self, epoch: int, head_seq: int) -> None:
        """Somebody was told of a head."""
        if epoch == self.epoch and head_seq > self.known_head:
            self.known_head = head_seq
            if len(self._heads) < MAX_HEADS:
                self._heads.append((head_seq, time.monotonic_ns()))

    def note(self, page: Page, who: str) -> None:
        """Compares a page with what stood at its seqs in other frames."""
        if page.epoch != self.epoch or page.flaw or self.base_seq < 0:
            return
        self.hear(page.epoch, page.last_seq)
        last = page.last_seq - self.base_seq
        if last > MAX_SPAN:
            return
        if last > len(self.digests):
            more = bytes(8 * (last - len(self.digests)))
            self.digests.frombytes(more)
            self.created_ns.frombytes(more)
            self.shown_ns.frombytes(more)
        place = page.after_seq - self.base_seq
        for digest, created_ns in zip(page.digests, page.created_ns, strict=True):
            if place >= 0:
                before = self.digests[place]
                if before == 0:
                    self.digests[place], self.created_ns[place] = digest, created_ns
                elif before != digest:
                    seq = self.base_seq + place + 1
                    text = "two different messages were delivered with this seq"
                    self._findings.add(Finding(Kind.CONFLICT, self.group_id, seq, who, text))
            place += 1

    def shown(self, page: Page, after_seq: int, now_ns: int, slow: bool = False) -> None:
        """One receiver shows the messages of a page that come after `after_seq`; how late counts apart for one that is `slow`."""
        slot = self.slot
        skip = after_seq - page.after_seq
        slot.delivered += len(page.digests) - skip
        place = after_seq - self.base_seq
        shown_ns = self.shown_ns
        if not 0 <= place < len(shown_ns) or page.epoch != self.epoch:
            return
        for created_ns in page.created_ns[skip:] if skip else page.created_ns:
            shown_ns[place] = now_ns
            place += 1
            if created_ns:
                lag_ns = now_ns - created_ns
                if slow:
                    self._slow_lag.add(lag_ns)
                    continue
                self._lag.add(lag_ns)
                if lag_ns > slot.lag_ns_max:
                    slot.lag_ns_max = lag_ns
                if created_ns > slot.newest_shown_ns:
                    slot.newest_shown_ns = created_ns

    def lacking_since_ns(self, held_seq: int) -> int:
        """Since when it is known that something above `held_seq` exists; 0: nothing does. The caller never asks for less again."""
        while self._heads and self._heads[0][0] <= held_seq:
            self._heads.popleft()
        return self._heads[0][1] if self._heads and held_seq < self.known_head else 0
