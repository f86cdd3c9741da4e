"""What a scenario's demands look at: figures of a whole run, cut by time where they ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from throng.bench.latencies import Percentiles
from throng.bench.plan import BenchPlan
from throng.bench.report import BenchEvent, Connections, Latency, Messages
from throng.bench.series import SLOT_NS, Recovery, Slot, recovery
from throng.bench.server_processes import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Of one run. `slow_lag`: to receivers that stopped reading for a while; `totals`: counts of all workers by name."""

    plan: BenchPlan
    messages: Messages
    latency: Latency
    connections: Connections
    slow_lag: Percentiles
    totals: dict[str, int]
    heartbeat_ms: int
    rejections: dict[str, int]
    events: Sequence[BenchEvent]
    origin_ns: int
    slots: Sequence[Slot]
    samples: Sequence[Sample]

    def named(self, beginning: str) -> list[BenchEvent]:
        """Events whose name begins so, in order."""
        return [event for event in self.events if event.name.startswith(beginning)]

    @property
    def sending_ns(self) -> tuple[int, int]:
        """From when to when messages were written; (0, 0): never."""
        sending, stopped = self.named("sending"), self.named("stopped")
        return (sending[0].at_ns, stopped[0].at_ns) if sending and stopped else (0, 0)

    @property
    def sending_seconds(self) -> float:
        """How long that was."""
        start_ns, stop_ns = self.sending_ns
        return (stop_ns - start_ns) / 1e9

    def slots_between(self, from_ns: int, to_ns: int) -> list[Slot]:
        """Slots that lie whole within a time of the monotonic clock."""
        return [
            slot
            for slot in self.slots
            if self.origin_ns + slot.index * SLOT_NS >= from_ns and self.origin_ns + (slot.index + 1) * SLOT_NS <= to_ns
        ]

    def lag_p99_ms(self, from_ns: int, to_ns: int) -> float:
        """99th percentile of the largest delays of each tenth of a second to receivers that read; 0: nothing was delivered."""
        found = sorted(slot.lag_ns_max for slot in self.slots_between(from_ns, to_ns) if slot.delivered)
        return found[min(len(found) - 1, int(0.99 * len(found)))] / 1e6 if found else 0.0

    def recovery_after(self, event: BenchEvent) -> Recovery:
        """How long things took to be well again after an event."""
        return recovery(list(self.slots), start_ns=self.origin_ns, at_ns=event.at_ns, receivers=self.plan.receivers)

    def back_seconds(self, event: BenchEvent, part: float) -> float | None:
        """After how long this part of all clients took part again, counted from when the fewest did; None: not before the end."""
        after = [slot for slot in self.slots if self.origin_ns + slot.index * SLOT_NS >= event.at_ns]
        if not after:
            return None
        online = [slot.receivers_online + slot.senders_online for slot in after]
        wanted = part * (self.plan.receivers + self.plan.senders)
        lowest = online.index(min(online[:50]))
        for slot, count in list(zip(after, online, strict=True))[lowest:]:
            if count >= wanted:
                return round((self.origin_ns + (slot.index + 1) * SLOT_NS - event.at_ns) / 1e9, 1)
        return None

    def samples_between(self, from_ns: int, to_ns: int) -> list[Sample]:
        """Samples of the server's processes within a time."""
        return [sample for sample in self.samples if from_ns <= sample.at_ns <= to_ns]

    @property
    def cpu_seconds(self) -> float | None:
        """What the server's processes took while messages were written; None: not measured."""
        found = self.samples_between(*self.sending_ns)
        return found[-1].cpu_seconds - found[0].cpu_seconds if len(found) > 1 else None
