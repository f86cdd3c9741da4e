"""A connected sender: what its state machine has due goes to the server, answers go to it and into the figures."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import group_pb2, message_pb2
from throng.bench.client import ANSWER_TIMEOUT_NS, Client
from throng.bench.decoding import AckEvent, Broadcast, EnteredEvent, Event, FailureEvent, Notice, OtherEvent, RejectEvent
from throng.bench.findings import Finding, Kind
from throng.bench.group_view import GroupView
from throng.bench.pages import digest, make_text
from throng.bench.sender import Sender

if TYPE_CHECKING:
    from throng.bench.fleet import Fleet


def new_msg_id() -> str:
    """A random UUID of version 4, at a third of what `uuid` takes."""
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[int(digits[16], 16) & 3]}{digits[17:20]}-{digits[20:]}"


class SenderClient(Client):
    """One sender in one group. It asks for notices and pulls nothing: it is no receiver."""

    __slots__ = ("_entering_ns", "_view", "sender")

    def __init__(self, fleet: Fleet, sender: Sender, edge: int, view: GroupView) -> None:
        super().__init__(fleet, sender.user_id, edge)
        self.sender = sender
        self._view = view
        self._entering_ns = 0

    def write_message(self, run_id: str, text_bytes: int) -> None:
        """Writes a message and sends it when it may go out."""
        sender, slot = self.sender, self.fleet.slot
        if sender.full:
            sender.skipped += 1
            return
        now_ns = time.monotonic_ns()
        client_msg_id = new_msg_id()
        text = make_text(run_id, sender.group_id, sender.next_number, now_ns, text_bytes)
        sender.write(client_msg_id, text, digest(sender.user_id, client_msg_id, text), now_ns)
        slot.submitted += 1
        self.pump()

    def pump(self) -> None:
        """Sends what may be sent; what must wait is tried again soon."""
        sender, wire = self.sender, self.wire
        if wire is None or not sender.online:
            return
        now_ns = time.monotonic_ns()
        while not wire.is_clogged:
            message = sender.due(now_ns)
            if message is None:
                break
            text = message_pb2.Text(text=message.text)
            send = client_pb2.Send(group_id=sender.group_id, client_msg_id=message.client_msg_id, text=text)
            self.send(client_pb2.ClientFrame(send=send))
        if sender.has_waiting:
            self.fleet.restless.add(self)

    def enter(self) -> None:
        """Enters the group anew; positions mean nothing to a sender."""
        self._entering_ns = time.monotonic_ns()
        request = client_pb2.Enter(group_id=self.sender.group_id, delivery=group_pb2.DELIVERY_NOTIFY)
        self.send(client_pb2.ClientFrame(request_id=1, enter=request))

    def on_broadcasts(self, events: Sequence[Broadcast]) -> None:
        """Only looks whose they are."""
        for event in events:
            if event.group_id != self.sender.group_id:
                text = "a block or notice of a group that was not entered"
                self.fleet.findings.add(Finding(Kind.FOREIGN, event.group_id, 0, self.user_id, text))
            elif isinstance(event, Notice):
                self._view.hear(event.epoch, event.head_seq)

    def take(self, event: Event) -> None:
        """Answers."""
        if isinstance(event, AckEvent):
            self._on_ack(event)
        elif isinstance(event, RejectEvent):
            if self.sender.on_reject(event.client_msg_id, event.code, event.retry_after_ms, time.monotonic_ns()):
                self.fleet.slot.refused += 1
        elif isinstance(event, EnteredEvent):
            self._on_entered(event)
        elif isinstance(event, FailureEvent):
            self.fleet.count_problem(f"enter failed: {event.code.name}")
            wait_seconds = self.retry_seconds(0.5, event.retry_after_ms)
            self._entering_ns = time.monotonic_ns() + int(wait_seconds * 1e9)  # nothing is overdue while it waits
            self.fleet.later(wait_seconds, self._enter_again, self.wire)
            return
        elif isinstance(event, OtherEvent):
            if event.removed:
                self.fleet.count_problem("removed from the group")
                self.sender.on_offline()
            return
        else:
            return
        self.pump()

    def on_offline(self) -> None:
        """The connection is gone."""
        self._entering_ns = 0
        self.sender.on_offline()

    def on_sweep(self, now_ns: int) -> None:
        """Sends again what was not answered in time."""
        if self._entering_ns and now_ns - self._entering_ns > ANSWER_TIMEOUT_NS:
            self.fleet.count_problem("no answer to enter in time")
            self.enter()
            return
        self.fleet.slot.refused += len(self.sender.tick(now_ns))
        self.pump()

    def _on_ack(self, event: AckEvent) -> None:
        now_ns = time.monotonic_ns()
        message = self.sender.on_ack(event.group_id, event.client_msg_id, event.epoch, event.seq, now_ns)
        if message is None:
            return
        slot, latency_ns = self.fleet.slot, now_ns - message.created_ns
        slot.acked += 1
        self.fleet.ack_latency.add(latency_ns)
        slot.ack_ns_max = max(slot.ack_ns_max, latency_ns)
        slot.newest_acked_ns = max(slot.newest_acked_ns, message.created_ns)
        self._view.hear(event.epoch, event.seq)

    def _on_entered(self, event: EnteredEvent) -> None:
        self._entering_ns = 0
        self.succeeded()
        if event.page.group_id != self.sender.group_id:
            text = "an answer about a group that was not entered"
            self.fleet.findings.add(Finding(Kind.FOREIGN, event.page.group_id, 0, self.user_id, text))
            return
        # The group's own rule is what refuses, at the door and behind it.
        self.sender.interval_ns = event.send_interval_ms * 1_000_000
        self.sender.on_online()

    def _enter_again(self, wire: object) -> None:
        if self.wire is wire and self._entering_ns:
            self.enter()
