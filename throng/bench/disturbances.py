"""What is done to the clients of one worker: cut off, made to stop reading, sent away and let back in."""

from __future__ import annotations

import random
from collections.abc import Sequence

from throng.bench.client import Client
from throng.bench.receiver_client import ReceiverClient
from throng.bench.shares import Cut, Resume, Stall

CHURN_TICK_SECONDS = 0.05
SHORTEST_AWAY_SECONDS, LONGEST_AWAY_SECONDS = 0.2, 1.5


class Disturbances:
    """Counts what it did: `cut`, `stalled` and `left` are numbers of clients, each counted as often as it happened to it."""

    def __init__(self, receivers: Sequence[ReceiverClient], clients: Sequence[Client], *, churn_per_second: float) -> None:
        """`churn_per_second`: of this worker. Receivers that are `slow` are those that stop reading."""
        self.cut = 0
        self.stalled = 0
        self.left = 0
        self._receivers = receivers
        self._clients = clients
        self._slow = [receiver for receiver in receivers if receiver.slow]
        self._churn_per_second = churn_per_second
        self._owed = 0.0

    def act(self, command: Cut | Stall | Resume) -> None:
        """Does what the coordinator says."""
        if isinstance(command, Cut):
            self._cut(command.share)
        elif isinstance(command, Stall):
            self.stalled += sum(client.stall() for client in self._slow)
        else:
            for client in self._slow:
                client.resume()

    def churn(self, seconds: float) -> None:
        """Sends away as many receivers as `seconds` ask for; what cannot leave now is owed."""
        self._owed += self._churn_per_second * seconds
        present = [client for client in self._receivers if client.receiver.online and not client.stalled] if self._owed >= 1 else []
        random.shuffle(present)
        for client in present[: int(self._owed)]:
            client.leave(random.uniform(SHORTEST_AWAY_SECONDS, LONGEST_AWAY_SECONDS))
            self.left += 1
            self._owed -= 1

    def _cut(self, share: float) -> None:
        connected = [client for client in self._clients if client.wire is not None]
        random.shuffle(connected)
        for client in connected[: round(share * len(connected))]:
            client.cut()
            self.cut += 1
