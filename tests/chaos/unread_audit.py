"""Compares unread counts, as clients see them, with a plain model made of the history (I7)."""

from __future__ import annotations

import random
import time
from typing import Any

from chaos_stage import ChaosStage
from chatter import GONE
from frame_client import FrameClient

MOST = 99
DEPTHS = (0, 1, 3, 37, 98, 99, 100, 140)
"""How far below the head people have read, in messages."""

SETTLE_SECONDS = 8.0
Counts = dict[str, tuple[int, bool]]


def expected(history: list[Any], user_id: str, read_seq: int) -> tuple[int, bool]:
    """(count, capped): messages of others above the cursor that nobody recalled; recalls themselves do not count."""
    number = sum(
        message.seq > read_seq
        and message.sender_id != user_id
        and not message.recalled_by_seq
        and message.WhichOneof("content") != "recall"
        for message in history
    )
    return min(number, MOST), number > MOST


class UnreadAudit:
    """People who are away in one group, each with another cursor."""

    def __init__(self, stage: ChaosStage, group_id: str, prefix: str) -> None:
        self._stage = stage
        self._group_id = group_id
        self.users = [f"{prefix}-away-{number}" for number in range(len(DEPTHS) + 1)]
        self._cursors: dict[str, int] = {}

    def join(self) -> None:
        """Adds them; the last one never reads anything."""
        self._stage.add(self._group_id, self.users)
        _, head = self._stage.head(self._group_id)
        self._cursors = dict.fromkeys(self.users, head)

    def read_some(self, source: random.Random, *others: str) -> None:
        """Everyone but the last has read up to somewhere near the head; `others` are users who wrote, too."""
        _, head = self._stage.head(self._group_id)
        users = [*self.users[:-1], *others]
        depths = list(DEPTHS)
        source.shuffle(depths)
        moved = {user: max(head - depths[place % len(depths)], 0) for place, user in enumerate(users)}
        self._stage.report_read(self._group_id, {user: seq for user, seq in moved.items() if seq})
        for user, seq in moved.items():
            self._cursors[user] = max(seq, self._cursors.get(user, 0))

    def complaints(self) -> list[str]:
        """What clients are told wrongly. Counts may come late, so a wrong one is asked for again for some seconds."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            history = self._stage.history(self._group_id)
            wrong = []
            for user, cursor in self._cursors.items():
                wanted, found = expected(history, user, cursor), self._seen_by(user)
                if wanted != found:
                    wrong.append(f"I7: {user} has read {cursor} in {self._group_id} and is told {found}, not {wanted}")
            if not wrong or time.monotonic() > deadline:
                return wrong
            time.sleep(0.5)

    def _seen_by(self, user: str) -> tuple[int, bool] | None:
        urls = self._stage.cluster.edge_urls()
        for attempt in range(6):
            try:
                client = FrameClient(urls[attempt % len(urls)], self._stage.token(user), timeout_seconds=5.0)
            except GONE:
                time.sleep(0.2)
                continue
            try:
                groups = client.ask(listGroups={}).get("groups", {}).get("groups", ())
                for group in groups:
                    if group.get("group", group).get("groupId") == self._group_id:
                        unread = group.get("unread", {})
                        return int(unread.get("count", 0)), bool(unread.get("capped", False))
            except GONE:
                time.sleep(0.2)
            finally:
                client.close()
        return None
