"""A connected receiver: what its state machine asks for goes to the server, what comes goes to it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import group_pb2
from throng.bench.client import ANSWER_TIMEOUT_NS, Client
from throng.bench.decoding import Broadcast, EnteredEvent, Event, FailureEvent, Notice, OtherEvent, PulledEvent
from throng.bench.findings import Finding, Kind
from throng.bench.pages import Page
from throng.bench.receiver import Receiver
from throng.domain.errors import ErrorCode

if TYPE_CHECKING:
    from throng.bench.fleet import Fleet

_ENTER, _PULL = 1, 2
"""Request ids; one request of each kind is under way at a time."""


SLOW_RECEIVE_BUFFER_BYTES = 4_096
"""Otherwise the system would take megabytes for a reader that has stopped, and the server would not notice."""


class ReceiverClient(Client):
    """One receiver in one group."""

    __slots__ = ("_delivery", "_entering_ns", "receive_buffer_bytes", "receiver", "slow")
    is_receiver = True

    def __init__(self, fleet: Fleet, receiver: Receiver, edge: int, *, notify: bool, slow: bool = False) -> None:
        """`slow`: one of those that stop reading; its figures are kept apart, and its socket takes little unread."""
        super().__init__(fleet, receiver.user_id, edge)
        self.receiver = receiver
        self.slow = receiver.slow = slow
        self.receive_buffer_bytes = SLOW_RECEIVE_BUFFER_BYTES if slow else 0
        self._delivery = group_pb2.DELIVERY_NOTIFY if notify else group_pb2.DELIVERY_INLINE
        self._entering_ns = 0

    def enter(self) -> None:
        """Enters with what it holds."""
        receiver = self.receiver
        self._entering_ns = time.monotonic_ns()
        request = client_pb2.Enter(
            group_id=receiver.group_id,
            epoch=receiver.epoch,
            seq=receiver.held_seq if receiver.epoch else 0,
            delivery=self._delivery,
        )
        self.send(client_pb2.ClientFrame(request_id=_ENTER, enter=request))

    def on_broadcasts(self, events: Sequence[Broadcast]) -> None:
        """The hot path: blocks and notices."""
        receiver = self.receiver
        now_ns = time.monotonic_ns()
        for event in events:
            if type(event) is Page:
                # What comes before `entered` lies in its page, or is pulled behind it.
                if receiver.epoch or event.group_id != receiver.group_id:
                    receiver.on_page(event, now_ns)
            elif type(event) is Notice and (receiver.epoch or event.group_id != receiver.group_id):
                receiver.on_notice(event.group_id, event.epoch, event.head_seq)
        if receiver.held_seq < receiver.head_seq or not receiver.online:
            self._pump()

    def take(self, event: Event) -> None:
        """Answers, and what happens to the group."""
        receiver, now_ns = self.receiver, time.monotonic_ns()
        if isinstance(event, EnteredEvent):
            self._entering_ns = 0
            self.succeeded()
            receiver.on_entered(event.page, event.head_seq, reset=event.reset, now_ns=now_ns)
        elif isinstance(event, PulledEvent):
            self.succeeded()
            receiver.on_pulled(event.page, event.head_seq, now_ns)
        elif isinstance(event, Page | Notice):
            self.on_broadcasts([event])
            return
        elif isinstance(event, FailureEvent):
            self._on_failure(event)
            return
        elif isinstance(event, OtherEvent):
            self._on_other(event)
        self._pump()

    def on_offline(self) -> None:
        """The connection is gone."""
        self._entering_ns = 0
        self.receiver.on_offline()

    def on_sweep(self, now_ns: int) -> None:
        """Asks again what was not answered in time."""
        if self._entering_ns and now_ns - self._entering_ns > ANSWER_TIMEOUT_NS:
            self.fleet.count_problem("no answer to enter in time")
            self.enter()
        elif self.receiver.pulling and now_ns - self.asked_ns > ANSWER_TIMEOUT_NS:
            self.fleet.count_problem("no answer to pull in time")
            self.receiver.pulling = False
            self._pump()

    def _pump(self) -> None:
        receiver = self.receiver
        if not self.ready:
            return
        if not receiver.online:
            if not self._entering_ns:
                self.enter()
            return
        pull = receiver.next_pull()
        if pull is None:
            return
        receiver.pulling = True
        self.asked_ns = time.monotonic_ns()
        self.fleet.pulls += 1
        request = client_pb2.Pull(group_id=receiver.group_id, epoch=pull.epoch, after_seq=pull.after_seq, up_to_seq=pull.up_to_seq)
        self.send(client_pb2.ClientFrame(request_id=_PULL, pull=request))

    def _on_failure(self, event: FailureEvent) -> None:
        self.fleet.count_problem(f"{'enter' if event.request_id == _ENTER else 'pull'} failed: {event.code.name}")
        wait_seconds = self.retry_seconds(0.5 if event.request_id == _ENTER else 0.2, event.retry_after_ms)
        if event.request_id == _ENTER:
            self._entering_ns = time.monotonic_ns() + int(wait_seconds * 1e9)  # nothing is overdue while it waits
            self.fleet.later(wait_seconds, self._enter_again, self.wire)
        elif event.code in (ErrorCode.NOT_ENTERED, ErrorCode.EPOCH_MISMATCH):
            self.receiver.on_offline()
            self._pump()
        else:
            self.asked_ns = time.monotonic_ns() + int(wait_seconds * 1e9)
            self.fleet.later(wait_seconds, self._pull_again, self.wire)

    def _enter_again(self, wire: object) -> None:
        if self.wire is wire and self._entering_ns:
            self.enter()

    def _pull_again(self, wire: object) -> None:
        if self.wire is wire:
            self.receiver.pulling = False
            self._pump()

    def _on_other(self, event: OtherEvent) -> None:
        receiver = self.receiver
        if event.group_id and event.group_id != receiver.group_id:
            text = "an event of a group that was not entered"
            self.fleet.findings.add(Finding(Kind.FOREIGN, event.group_id, 0, receiver.user_id, text))
        elif event.removed:
            self.fleet.count_problem("removed from the group")
            receiver.on_offline()
