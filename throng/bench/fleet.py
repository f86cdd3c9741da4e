"""All clients of one worker on one event loop: opening them, writing on schedule, and measuring how things stand."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from throng.adapters.jwt_tokens import TokenIssuer
from throng.bench.client import Client
from throng.bench.decoding import Decoder
from throng.bench.disturbances import CHURN_TICK_SECONDS, Disturbances
from throng.bench.findings import Finding, Findings, Kind
from throng.bench.group_view import GroupView
from throng.bench.latencies import Latencies
from throng.bench.pages import Page
from throng.bench.plan import host_and_port, is_tls
from throng.bench.receiver import Receiver
from throng.bench.receiver_client import ReceiverClient
from throng.bench.schedule import Schedule
from throng.bench.sender import Sender
from throng.bench.sender_client import SenderClient
from throng.bench.series import SLOT_NS, Slot, skipped_slots
from throng.bench.shares import ClientShare, Share, Tick

_TOKEN_SECONDS = 2 * 86_400
_RESTLESS_SECONDS = 0.025
_SWEEP_SECONDS = 1.0
_WRITE_SECONDS = 0.004
"""Messages that are due within so long are written together: at 5,000/s each would cost a wake-up of this process."""

_MAX_KINDS_OF_PROBLEMS = 200


class Target(NamedTuple):
    """An edge."""

    host: str
    port: int
    tls: bool

    @property
    def authority(self) -> str:
        """For the Host header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Fleet:
    """Clients of one worker. `open_all`, `begin`, `halt`, `tick` and `close` are what the worker calls.

    Attributes:
        slot: the tenth of a second under way.
        restless: senders that have something to send later.
    """

    def __init__(self, share: Share, jitter: Callable[[], float]) -> None:
        self.share = share
        self.targets = [Target(*host_and_port(url), is_tls(url)) for url in share.urls]
        self.findings = Findings()
        self.lag, self.slow_lag, self.ack_latency = Latencies(), Latencies(), Latencies()
        self.loop_lag, self.schedule_lag = Latencies(), Latencies()
        self.slot = Slot()
        self.pulls = 0
        self.pings = 0
        self.heartbeat_ms = 0
        self.restless: set[SenderClient] = set()
        self.problems: Counter[str] = Counter()
        self.closes: Counter[int] = Counter()
        self.own_limits: Counter[str] = Counter()
        self.decoder = Decoder(share.run_id, self._look)
        self.views: dict[str, GroupView] = {}
        self.receivers = [
            self._receiver(client, slow=slow) for client, slow in zip(share.receivers, _slow_ones(share), strict=True)
        ]
        self.senders = [self._sender(client.user_id, client.group_id, client.edge, jitter) for client in share.senders]
        self._clients: list[Client] = [*self.receivers, *self.senders]
        self.disturbances = Disturbances(self.receivers, self._clients, churn_per_second=share.churn_per_second)
        self._by_group: dict[str, list[Receiver]] = {}
        for client in self.receivers:
            self._by_group.setdefault(client.receiver.group_id, []).append(client.receiver)
        self._issuer = TokenIssuer.from_file(share.jwt_secret_file)
        self._slots: list[Slot] = []
        self._told_heads: dict[str, tuple[int, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heads_round = 0
        self._start_ns = self._stop_ns = self._next = 0
        self._schedule = Schedule(0, 0, 0.0)
        self._cpu_from = (0.0, 0)
        self.cpu_share = 0.0

    def _view(self, group_id: str) -> GroupView:
        return self.views.setdefault(group_id, GroupView(group_id, self.findings, self.lag, self.slot, self.slow_lag))

    def _receiver(self, client: ClientShare, *, slow: bool) -> ReceiverClient:
        receiver = Receiver(client.user_id, client.group_id, self._view(client.group_id), self.findings)
        return ReceiverClient(self, receiver, client.edge, notify=self.share.notify, slow=slow)

    def _sender(self, user_id: str, group_id: str, edge: int, jitter: Callable[[], float]) -> SenderClient:
        sender = Sender(user_id, group_id, self.findings, max_attempts=self.share.max_attempts, jitter=jitter)
        return SenderClient(self, sender, edge, self._view(group_id))

    # For clients ----------------------------------------------------------------------------------------------------

    def token(self, user_id: str) -> str:
        """A new token."""
        return self._issuer.issue(user_id, ttl_seconds=_TOKEN_SECONDS)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs something short that `close` waits for."""
        assert self._loop is not None
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def later(self, seconds: float, call: Callable[..., None], *arguments: object) -> None:
        """Calls after a while."""
        assert self._loop is not None
        self._loop.call_later(seconds, call, *arguments)

    def count_problem(self, text: str) -> None:
        """Something that a client has to live with."""
        if text in self.problems or len(self.problems) < _MAX_KINDS_OF_PROBLEMS:
            self.problems[text] += 1

    def count_close(self, code: int) -> None:
        """A connection that was up is gone."""
        self.closes[code] += 1

    def own_limit(self, error: OSError) -> None:
        """This machine lacks something, so that nothing is said about the server."""
        self.own_limits[error.strerror or type(error).__name__] += 1

    # For the worker -------------------------------------------------------------------------------------------------

    def open_all(self, loop: asyncio.AbstractEventLoop) -> None:
        """Opens all clients at the pace of the ramp, and begins to measure."""
        self._loop = loop
        # Senders first: it is receivers that make a ramp long.
        for place, client in enumerate(reversed(self._clients)):
            loop.call_later(place / self.share.ramp, client.open)
        self._roll(loop.time())
        loop.call_later(_SWEEP_SECONDS, self._sweep)
        loop.call_later(_RESTLESS_SECONDS, self._pump_restless)

    def begin(self, start_ns: int, stop_ns: int) -> None:
        """Writes messages from `start_ns` to `stop_ns`."""
        self._start_ns, self._stop_ns = start_ns, stop_ns
        self._cpu_from = (time.process_time(), time.monotonic_ns())
        self._schedule = Schedule(start_ns, stop_ns, self.share.rate, self.share.rate_steps)
        if self.share.churn_per_second:
            self.later(max(0.0, (start_ns - time.monotonic_ns()) / 1e9), self._churn)
        if self.senders and self.share.rate > 0:
            self.later(max(0.0, (start_ns - time.monotonic_ns()) / 1e9), self._write_due)

    def halt(self) -> None:
        """Writes no more."""
        self._stop_ns = min(self._stop_ns, time.monotonic_ns())
        cpu, since_ns = self._cpu_from
        if since_ns:
            self.cpu_share = (time.process_time() - cpu) / max(1e-9, (time.monotonic_ns() - since_ns) / 1e9)
            self._cpu_from = (0.0, 0)

    def hear_heads(self, heads: dict[str, tuple[int, int]], heads_round: int) -> None:
        """Heads for judging who is behind; receivers are not told: that is the server's part."""
        for group_id, (epoch, seq) in heads.items():
            view = self.views.get(group_id)
            if view is not None:
                view.hear(epoch, seq)
        self._heads_round = max(heads_round, self._heads_round)

    def tick(self) -> Tick:
        """How it stands; takes the finished slots with it."""
        slots, self._slots = self._slots, []
        behind = 0
        for group_id, receivers in self._by_group.items():
            view = self.views[group_id]
            behind += sum(receiver.held_seq < view.known_head or receiver.epoch != view.epoch for receiver in receivers)
        return Tick(
            slots=slots,
            entered=sum(client.receiver.entered for client in self.receivers) + sum(c.sender.online for c in self.senders),
            online=sum(client.receiver.online for client in self.receivers) + sum(c.sender.online for c in self.senders),
            unanswered=sum(client.sender.unanswered for client in self.senders),
            behind=behind,
            heads_round=self._heads_round,
            heads=self._new_heads(),
            faults=sum(count for kind, count in self.findings.counts.items() if kind.is_fault),
        )

    def _new_heads(self) -> dict[str, tuple[int, int]]:
        found = {}
        for group_id, view in self.views.items():
            head = (view.epoch, view.known_head)
            if self._told_heads.get(group_id) != head:
                found[group_id] = self._told_heads[group_id] = head
        return found

    async def close(self) -> None:
        """Closes all clients."""
        for client in self._clients:
            client.closed = True
        for client in self._clients:
            client.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Timers ---------------------------------------------------------------------------------------------------------

    def _write_due(self) -> None:
        now_ns = time.monotonic_ns()
        while True:
            due_ns = self._schedule.due_ns(self._next)
            if due_ns is None or due_ns >= self._stop_ns:
                return
            if due_ns > now_ns:
                break
            self.schedule_lag.add(now_ns - due_ns)
            self.senders[self._next % len(self.senders)].write_message(self.share.run_id, self.share.text_bytes)
            self._next += 1
        self.later(max((due_ns - now_ns) / 1e9, _WRITE_SECONDS), self._write_due)

    def _churn(self) -> None:
        if time.monotonic_ns() < self._stop_ns:
            self.disturbances.churn(CHURN_TICK_SECONDS)
            self.later(CHURN_TICK_SECONDS, self._churn)

    def _pump_restless(self) -> None:
        restless, self.restless = self.restless, set()
        for client in restless:
            client.pump()
        self.later(_RESTLESS_SECONDS, self._pump_restless)

    def _sweep(self) -> None:
        now_ns = time.monotonic_ns()
        for client in self._clients:
            client.sweep(now_ns)
        self.later(_SWEEP_SECONDS, self._sweep)

    def _roll(self, due: float) -> None:
        """Ends a slot and begins the next."""
        assert self._loop is not None
        now_ns = time.monotonic_ns()
        if self._start_ns and now_ns >= self._start_ns:
            self.loop_lag.add(int(max(0.0, self._loop.time() - due) * 1e9))
        ended = self._completed(self.slot, now_ns)
        self.slot = Slot(max(ended.index + 1, (now_ns - self.share.origin_ns) // SLOT_NS))
        self._slots += [ended, *skipped_slots(ended, self.slot.index)]
        for view in self.views.values():
            view.slot = self.slot
        left_ns = self.share.origin_ns + (self.slot.index + 1) * SLOT_NS - now_ns
        wait = max(0.001, left_ns / 1e9)
        self._loop.call_later(wait, self._roll, self._loop.time() + wait)

    def _completed(self, slot: Slot, now_ns: int) -> Slot:
        slot.receivers_online = sum(client.receiver.online for client in self.receivers)
        slot.senders_online = sum(client.sender.online for client in self.senders)
        slot.unanswered = sum(client.sender.unanswered for client in self.senders)
        slot.stale_ns = self._stale_ns(now_ns)
        return slot

    def _stale_ns(self, now_ns: int) -> int:
        """For how long some receiver has lacked a message of which it was known (an ACK, a page, a notice) that it exists."""
        worst = 0
        for group_id, receivers in self._by_group.items():
            view = self.views[group_id]
            entered = [receiver.held_seq for receiver in receivers if receiver.entered and receiver.epoch == view.epoch]
            since_ns = view.lacking_since_ns(min(entered, default=view.known_head))
            if since_ns:
                worst = max(worst, now_ns - since_ns)
        return worst

    def _look(self, page: Page) -> None:
        view = self.views.get(page.group_id)
        if view is not None:
            view.note(page, "receivers")
        for seq in page.foreign:
            text = "this message was written to another group of the run"
            self.findings.add(Finding(Kind.FOREIGN, page.group_id, seq, "receivers", text))

    def take_slots(self) -> list[Slot]:
        """The finished slots and the one under way."""
        slots, self._slots = [*self._slots, self._completed(self.slot, time.monotonic_ns())], []
        return slots


def _slow_ones(share: Share) -> list[bool]:
    """Which receivers stop reading on `Stall`: evenly spread, so that no edge and no group has all of them."""
    part = share.slow_share
    return [int((place + 1) * part) > int(place * part) for place in range(len(share.receivers))]
