"""A member who is removed during a fault and must get nothing of the group from 6 s later on (I9)."""

from __future__ import annotations

import time

from chaos_stage import ChaosStage
from chatter import Chatter, Frame
from frame_client import FrameClient

GRACE_SECONDS = 6.0


class RemovedMember(Chatter):
    """Reads along before and after the removal, and comes back when its connection breaks.

    Attributes:
        removed_at: monotonic time from which the six seconds count; 0: not removed yet.
        received: (time, seqs) of what it was shown of the group.
    """

    def __init__(self, stage: ChaosStage, user_id: str, group_id: str, *, first_edge: int = 0) -> None:
        super().__init__(stage, user_id, group_id, first_edge=first_edge)
        self.removed_at = 0.0
        self.received: list[tuple[float, list[int]]] = []

    def take(self, frame: Frame, now: float) -> None:
        for name in ("block", "pulled", "entered"):
            messages = frame.get(name, {}).get("messages", ())
            if messages:
                self.received.append((now, [int(message["seq"]) for message in messages]))
        notice = frame.get("notice")
        if notice:
            self.received.append((now, [int(notice.get("headSeq", 0))]))

    def work(self, client: FrameClient) -> None:
        while not self.ending.is_set():
            self.next_frame(client, 1.0, lambda _: False)

    def remove(self) -> None:
        """Takes the membership away, as soon as the group service can."""
        self._stage.remove(self.group_id, self.user_id)
        self.removed_at = time.monotonic()

    def connected_again(self) -> None:
        """What had to be connected for the removal to be heard of is so only now."""
        self.removed_at = max(self.removed_at, time.monotonic())

    def complaint(self) -> str:
        """What it received too late; empty: nothing."""
        limit = self.removed_at + GRACE_SECONDS
        late = [(at - self.removed_at, seqs) for at, seqs in self.received if self.removed_at and at > limit]
        if not late:
            return ""
        return (
            f"I9: {self.user_id} received {late[0][1][:5]} {late[0][0]:.1f} s after it was removed, and {len(late) - 1} frames more"
        )
