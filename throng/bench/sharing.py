"""Deals users out to groups, edges and workers."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass

from throng.bench.plan import BenchPlan
from throng.bench.shares import ClientShare, Share

CLIENTS_PER_WORKER = 2_500


@dataclass(frozen=True, slots=True)
class Deal:
    """Who is where. `members`: users by group."""

    group_ids: list[str]
    receivers: list[ClientShare]
    senders: list[ClientShare]
    members: dict[str, list[str]]

    def shares(self, plan: BenchPlan, run_id: str, origin_ns: int) -> list[Share]:
        """One share per worker, each with its part of the rate and of the ramp."""
        count = worker_count(plan)
        source = random.Random(plan.seed)
        shares = []
        for worker in range(count):
            receivers, senders = tuple(self.receivers[worker::count]), tuple(self.senders[worker::count])
            shares.append(
                Share(
                    run_id=run_id,
                    urls=plan.urls,
                    jwt_secret_file=plan.jwt_secret_file,
                    origin_ns=origin_ns,
                    receivers=receivers,
                    senders=senders,
                    rate=plan.rate * len(senders) / max(1, len(self.senders)),
                    ramp=plan.ramp / count,
                    text_bytes=plan.text_bytes,
                    notify=plan.delivery == "notify",
                    max_attempts=plan.max_attempts,
                    rate_steps=plan.rate_steps,
                    churn_per_second=plan.churn_per_second * len(receivers) / max(1, len(self.receivers)),
                    slow_share=plan.slow_share,
                    seed=source.getrandbits(62),
                )
            )
        return shares


def worker_count(plan: BenchPlan) -> int:
    """The plan's, or as many as the clients need and the machine has cores; never more than clients."""
    clients = plan.receivers + plan.senders
    wanted = plan.workers or min(os.cpu_count() or 1, 1 + (clients - 1) // CLIENTS_PER_WORKER)
    return max(1, min(wanted, clients))


def deal(plan: BenchPlan, run_id: str) -> Deal:
    """Deals the clients of a plan out; every one is a user of its own."""
    group_ids = list(plan.group_ids) or [f"bench-{run_id}-{number}" for number in range(plan.groups)]
    receivers = _deal_kind("r", plan.receivers, group_ids, run_id)
    senders = _deal_kind("s", plan.senders, group_ids, run_id)
    members: dict[str, list[str]] = {}
    for client in [*receivers, *senders]:
        members.setdefault(client.group_id, []).append(client.user_id)
    return Deal(group_ids, receivers, senders, members)


def _deal_kind(letter: str, count: int, group_ids: Sequence[str], run_id: str) -> list[ClientShare]:
    # Neither do the clients of one group begin at the same edge, nor those of different groups, however many there are of each.
    groups = len(group_ids)
    return [
        ClientShare(f"bench-{run_id}-{letter}{number}", group_ids[number % groups], number % groups + number // groups)
        for number in range(count)
    ]
