"""Computes how long messages wait for their block, and how many blocks a group makes, by its rate: two rules on the same arrivals.

*By the last block* is what group_svc does: a block that is not full goes one interval after the one before it. *By age*: it goes when
its first message is one interval old, as the source article's "after 1 s" may be read. Arrivals are random (Poisson), time is
computed, not waited for: the same figures come out on every machine.

    python tests/load/block_waiting.py [--messages 20000]
"""

from __future__ import annotations

import argparse
import pathlib
import random
import sys
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from group_svc.core.blocks import BlockFormer
from throng.domain.group import GroupSettings
from throng.domain.ids import GroupId, UserId
from throng.domain.message import Lane, MessageKind, StoredMessage

RATES = (0.1, 0.3, 0.5, 1, 2, 3, 5, 10, 20, 50)
SETTINGS = GroupSettings()
GROUP = GroupId("g")


class ByAge(BlockFormer):
    """A block goes when its first message is one interval old."""

    first_at = 0.0

    def add(self, group_id, epoch, messages, recalls, settings, now):  # type: ignore[no-untyped-def]
        """Notes when a block begins."""
        if not self.waiting:
            self.first_at = now
        return super().add(group_id, epoch, messages, recalls, settings, now)

    def _due_at(self, group):  # type: ignore[no-untyped-def]
        return self.first_at + group.settings.block_interval_ms / 1000


def simulate(former: BlockFormer, rate: float, count: int) -> tuple[float, float]:
    """Mean wait in ms and blocks per second."""
    dice = random.Random(3)
    waited = now = 0.0
    blocks = seq = 0
    came: dict[int, float] = {}
    following = dice.expovariate(rate)
    while seq < count:
        deadline = former.next_deadline()
        if deadline is not None and deadline <= following:
            now = deadline
            ready = former.due(now)
        else:
            seq, now = seq + 1, following
            came[seq] = now
            message = StoredMessage(seq, UserId("u"), "", str(seq), MessageKind.TEXT, Lane.NORMAL, b"x", 0)
            ready = former.add(GROUP, 1, [message], (), SETTINGS, now)
            following += dice.expovariate(rate)
        blocks += len(ready)
        waited += sum(now - came.pop(message.seq) for block in ready for message in block.messages)
    return 1_000 * waited / seq, blocks / now


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    arguments = parser.parse_args()
    print(
        "| messages/s | by age: mean wait ms | blocks/s | by the last block: mean wait ms | blocks/s | wait saved |\n|"
        + " --- |" * 6
    )
    rules: tuple[Callable[[], BlockFormer], ...] = (ByAge, BlockFormer)
    for rate in RATES:
        (old, old_blocks), (new, new_blocks) = (simulate(rule(), rate, arguments.messages) for rule in rules)
        print(f"| {rate:g} | {old:.0f} | {old_blocks:.2f} | {new:.0f} | {new_blocks:.2f} | {1 - new / old:.0%} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
