"""A receiver of one group: holds everything up to a seq, closes gaps by pulling, and notes what a server may not do."""

from __future__ import annotations

from typing import NamedTuple

from throng.bench.findings import Finding, Findings, Kind
from throng.bench.group_view import GroupView
from throng.bench.pages import Page

MAX_PENDING = 64
"""Pages kept that came too early; more are dropped (oldest kept), for pulling brings them anyway."""


class Pull(NamedTuple):
    """What to ask the server for."""

    epoch: int
    after_seq: int
    up_to_seq: int


class Receiver:
    """Behaves as docs/protocol.md 3.2 and 3.3 say. After each call `next_pull()` tells what is to be asked for.

    It never drops what it held: where a page skips ahead it pulls from where it stood, so that every message counts.

    Attributes:
        base_seq: what it held when it entered first; later ones are expected.
        held_seq: it shows everything up to here.
        online: it takes part in its group; False on a live connection means that it has to enter again.
        redundant: messages that came again and were dropped, as the protocol has it.
        gaps: pages or notices that told of messages which it did not have.
        slow: it stops reading for a while, so its latencies are kept apart.
    """

    __slots__ = (
        "_findings",
        "_pending",
        "_view",
        "base_seq",
        "catch_up_from_ns",
        "catch_up_ns_max",
        "catch_up_target",
        "epoch",
        "gaps",
        "group_id",
        "head_seq",
        "held_seq",
        "online",
        "pulling",
        "redundant",
        "slow",
        "user_id",
    )

    def __init__(self, user_id: str, group_id: str, view: GroupView, findings: Findings) -> None:
        self.user_id = user_id
        self.group_id = group_id
        self.epoch = 0
        self.base_seq = -1
        self.held_seq = 0
        self.head_seq = 0
        self.online = False
        self.pulling = False
        self.slow = False
        self.redundant = 0
        self.gaps = 0
        self.catch_up_from_ns = 0
        self.catch_up_target = 0
        self.catch_up_ns_max = 0
        self._view = view
        self._findings = findings
        self._pending: dict[int, Page] | None = None

    @property
    def entered(self) -> bool:
        """It has entered at least once."""
        return self.base_seq >= 0

    def on_entered(self, page: Page, head_seq: int, *, reset: bool, now_ns: int) -> None:
        """The answer to `enter`: the first one sets the base, later ones bring what was missed."""
        if self._is_foreign(page):
            return
        self.online = True
        self.pulling = False
        if not self.entered:
            self._begin(page.epoch, max(page.last_seq, head_seq) if not page.digests else page.last_seq)
        elif page.epoch != self.epoch or reset:
            self._change_epoch(page.epoch, head_seq)
        else:
            self._start_catch_up(head_seq, now_ns)
            self.on_page(page, now_ns)
        self._hear(head_seq)
        self._finish_catch_up(now_ns)

    def on_page(self, page: Page, now_ns: int) -> None:
        """A block, or messages in an answer."""
        if page.after_seq == self.held_seq and page.epoch == self.epoch and page.group_id == self.group_id and not page.flaw:
            self._view.shown(page, page.after_seq, now_ns, self.slow)
            self.held_seq = page.last_seq
            if self.held_seq > self.head_seq:
                self.head_seq = self.held_seq
            if self._pending is not None:
                self._absorb(now_ns)
            if self.catch_up_from_ns:
                self._finish_catch_up(now_ns)
            return
        self._take_uncommon(page, now_ns)

    def on_notice(self, group_id: str, epoch: int, head_seq: int) -> None:
        """The head moved."""
        if group_id != self.group_id:
            self._foreign(group_id, head_seq, "a notice of a group that was not entered")
        elif self._same_epoch(epoch):
            if head_seq > self.held_seq:
                self.gaps += 1
            self._hear(head_seq)

    def on_pulled(self, page: Page, head_seq: int, now_ns: int) -> None:
        """The answer to a pull."""
        self.pulling = False
        if page.group_id == self.group_id and page.epoch == self.epoch and page.after_seq > self.held_seq and not page.flaw:
            # What was asked for begins at held_seq: an answer that begins later says that history has a hole.
            self._add(Kind.HOLE_IN_HISTORY, self.held_seq + 1, f"a pull after {self.held_seq} was answered after {page.after_seq}")
        self.on_page(page, now_ns)
        if page.epoch == self.epoch and page.group_id == self.group_id:
            self._hear(head_seq)

    def on_offline(self) -> None:
        """The connection is gone."""
        self.online = False
        self.pulling = False

    def next_pull(self) -> Pull | None:
        """What to pull now; the caller sets `pulling` when it has asked."""
        if self.pulling or not self.online or self.held_seq >= self.head_seq:
            return None
        up_to = self.head_seq
        if self._pending is not None:
            up_to = min(min(self._pending), up_to)
        return Pull(self.epoch, self.held_seq, up_to if up_to > self.held_seq else self.head_seq)

    def _take_uncommon(self, page: Page, now_ns: int) -> None:
        if self._is_foreign(page) or not self._same_epoch(page.epoch):
            return
        if page.flaw:
            self._add(Kind.MISORDERED, page.after_seq, page.flaw)
            return
        if page.last_seq <= self.held_seq:
            self.redundant += len(page.digests)
            return
        self._hear(page.last_seq)
        if page.after_seq > self.held_seq:
            self.gaps += 1
            self._keep(page)
            return
        self.redundant += self.held_seq - page.after_seq
        self._view.shown(page, self.held_seq, now_ns, self.slow)
        self.held_seq = page.last_seq
        self._absorb(now_ns)
        self._finish_catch_up(now_ns)

    def _keep(self, page: Page) -> None:
        if self._pending is None:
            self._pending = {}
        if len(self._pending) < MAX_PENDING:
            self._pending[page.after_seq] = page

    def _absorb(self, now_ns: int) -> None:
        while self._pending:
            after = min(self._pending)
            if after > self.held_seq:
                return
            page = self._pending.pop(after)
            if page.last_seq > self.held_seq:
                self.redundant += self.held_seq - after
                self._view.shown(page, self.held_seq, now_ns, self.slow)
                self.held_seq = page.last_seq
            else:
                self.redundant += len(page.digests)
        self._pending = None

    def _begin(self, epoch: int, base_seq: int) -> None:
        self.epoch = epoch
        self.base_seq = self.held_seq = self.head_seq = base_seq
        self._pending = None
        self._view.start(epoch, base_seq)

    def _change_epoch(self, epoch: int, head_seq: int) -> None:
        if epoch < self.epoch:
            self._add(Kind.EPOCH_WENT_BACK, 0, f"epoch {epoch} after epoch {self.epoch}")
        else:
            self._add(Kind.EPOCH_CHANGED, 0, f"epoch {epoch} after epoch {self.epoch}: history was lost or restored")
        self._begin(epoch, head_seq)

    def _same_epoch(self, epoch: int) -> bool:
        if epoch > self.epoch and self.entered:
            self.online = False  # it enters again, and the answer tells of the new epoch
        elif epoch < self.epoch:
            self._add(Kind.EPOCH_WENT_BACK, 0, f"epoch {epoch} was delivered after epoch {self.epoch}")
        return epoch == self.epoch

    def _is_foreign(self, page: Page) -> bool:
        if page.group_id == self.group_id:
            return False
        self._foreign(page.group_id, page.after_seq + 1, "messages of a group that was not entered")
        return True

    def _foreign(self, group_id: str, seq: int, text: str) -> None:
        self._findings.add(Finding(Kind.FOREIGN, group_id, seq, self.user_id, text))

    def _hear(self, head_seq: int) -> None:
        if head_seq > self.head_seq:
            self.head_seq = head_seq
            self._view.hear(self.epoch, head_seq)

    def _start_catch_up(self, head_seq: int, now_ns: int) -> None:
        if head_seq > self.held_seq:
            self.catch_up_from_ns, self.catch_up_target = now_ns, head_seq

    def _finish_catch_up(self, now_ns: int) -> None:
        if self.catch_up_from_ns and self.held_seq >= self.catch_up_target:
            self.catch_up_ns_max = max(self.catch_up_ns_max, now_ns - self.catch_up_from_ns)
            self.catch_up_from_ns = 0

    def _add(self, kind: Kind, seq: int, text: str) -> None:
        self._findings.add(Finding(kind, self.group_id, seq, self.user_id, text))
