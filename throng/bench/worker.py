"""The process of one worker: `python -m throng.bench.worker DESCRIPTOR`, driven over the socket with that number."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import resource
import signal
import sys
import threading
import traceback
from collections import Counter
from multiprocessing.connection import Connection
from typing import Any

import uvloop

from throng.bench.fleet import Fleet
from throng.bench.judge import Held, Written
from throng.bench.receiver import Receiver
from throng.bench.sender import Sender, State
from throng.bench.shares import Begin, Cut, Evidence, Finish, GroupEvidence, Halt, Heads, Resume, Share, Stall

_TICK_SECONDS = 0.25


class Worker:
    """Takes commands from the coordinator and answers with ticks and, at the end, the evidence."""

    def __init__(self, link: Connection, share: Share) -> None:
        self._link = link
        self._random = random.Random(share.seed)
        random.seed(share.seed)
        self._fleet = Fleet(share, self._random.random)
        self._finished = asyncio.Event()
        self._gone = False
        self._defect: BaseException | None = None

    async def run(self) -> None:
        """Runs until the coordinator says `Finish`, or is gone."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_defect)
        # A thread reads, for an event loop would make the socket non-blocking, and evidence is larger than what it takes at once.
        reader = threading.Thread(target=self._read, args=(loop,), name="commands")
        reader.start()
        self._fleet.open_all(loop)
        ticking = loop.create_task(self._tick())
        ticking.add_done_callback(self._on_tick_end)
        await self._finished.wait()
        ticking.cancel()
        self._fleet.halt()
        evidence = collect(self._fleet)
        await self._fleet.close()
        if self._defect is not None:
            traceback.print_exception(self._defect)
            os._exit(1)  # evidence of a client with a defect is worth nothing: the run fails, whatever is still being read
        if not self._gone:
            self._link.send(evidence)
        reader.join()  # `Finish` and the end of the link are the last that it reads

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            try:
                command = self._link.recv()
            except (EOFError, OSError):
                command = None
            loop.call_soon_threadsafe(self._on_command, command)
            if command is None or isinstance(command, Finish):
                return

    def _on_command(self, command: object) -> None:
        if command is None:
            self._gone = True
            self._finished.set()
        elif isinstance(command, Begin):
            self._fleet.begin(command.start_ns, command.stop_ns)
        elif isinstance(command, Halt):
            self._fleet.halt()
        elif isinstance(command, Cut | Stall | Resume):
            self._fleet.disturbances.act(command)
        elif isinstance(command, Heads):
            self._fleet.hear_heads(command.heads, command.round)
        elif isinstance(command, Finish):
            self._finished.set()

    def _on_defect(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if self._defect is None:
            self._defect = context.get("exception") or RuntimeError(context["message"])
        self._finished.set()

    def _on_tick_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._defect = task.exception()
            self._finished.set()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            try:
                self._link.send(self._fleet.tick())
            except OSError:
                self._gone = True
                self._finished.set()
                return


def collect(fleet: Fleet) -> Evidence:
    """Everything that a fleet knows."""
    groups: dict[str, GroupEvidence] = {}
    for group_id, view in fleet.views.items():
        arrays = (view.digests.tobytes(), view.created_ns.tobytes(), view.shown_ns.tobytes())
        groups[group_id] = GroupEvidence(view.epoch, view.base_seq, *arrays)
    done = fleet.disturbances
    totals: Counter[str] = Counter(pulls=fleet.pulls, pings=fleet.pings, cut=done.cut, stalled=done.stalled, left=done.left)
    totals["heartbeat_ms"] = fleet.heartbeat_ms
    rejections: Counter[str] = Counter()
    refusals: Counter[str] = Counter()
    for client in fleet.receivers:
        groups[client.receiver.group_id].held.append(_held(client.receiver))
        totals["receiver_reconnects"] += max(0, client.connections - 1)
        totals["slow_gaps"] += client.receiver.gaps if client.slow else 0
    for writer in fleet.senders:
        sender = writer.sender
        groups[sender.group_id].written += _written(sender)
        rejections.update(sender.rejections)
        refusals.update(sender.refusals)
        for name in ("skipped", "resends", "acks_again", "refused_without_time"):
            totals[name] += getattr(sender, name)
        totals["sender_reconnects"] += max(0, writer.connections - 1)
    return Evidence(
        groups=groups,
        slots=fleet.take_slots(),
        counts=fleet.findings.counts,
        examples=fleet.findings.examples,
        ack_latency=fleet.ack_latency.pack(),
        lag=fleet.lag.pack(),
        loop_lag=fleet.loop_lag.pack(),
        schedule_lag=fleet.schedule_lag.pack(),
        cpu_share=fleet.cpu_share,
        own_limits=dict(fleet.own_limits),
        problems=dict(fleet.problems),
        closes=dict(fleet.closes),
        rejections=dict(rejections),
        refusals=dict(+refusals),
        totals=dict(totals),
        slow_lag=fleet.slow_lag.pack(),
    )


def _held(receiver: Receiver) -> Held:
    return Held(
        receiver.user_id,
        receiver.epoch,
        receiver.base_seq,
        receiver.held_seq,
        receiver.online,
        receiver.redundant,
        receiver.gaps,
        receiver.catch_up_ns_max,
    )


def _written(sender: Sender) -> list[Written]:
    return [
        Written(
            sender.user_id,
            message.client_msg_id,
            message.number,
            message.digest,
            message.state,
            message.epoch,
            message.seq,
            message.first,
            message.last,
            message.uncertain or message.state is State.IN_FLIGHT,
            message.rejects,
            sender.online,
        )
        for message in sender.messages
    ]


def main() -> None:
    """Runs one worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator hears it and ends the run in good order
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Connection(int(sys.argv[1])) as link:
        share = link.recv()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)  # as the services: every message written is kept, and each full pass looks at all of them
        uvloop.run(Worker(link, share).run())


if __name__ == "__main__":
    main()
