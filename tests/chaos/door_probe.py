"""A sender that writes steadily and notes how soon the edge answers each message, and with what (I8)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from chaos_stage import ChaosStage
from chatter import Chatter, Frame
from frame_client import FrameClient, new_id

ANSWER_SECONDS = 17.0
"""An edge answers every submission within 15 s, by a refusal if by nothing else; and 2 s for a busy machine."""

_PACE_SECONDS = 0.4


@dataclass(slots=True)
class Answer:
    """What came of one submission; `code` is empty for an ACK."""

    client_msg_id: str
    at: float
    seconds: float
    seq: int
    code: str
    retry_after_ms: int


class DoorProbe(Chatter):
    """Writes on, whether answers come or not. What has no answer when the connection breaks is sent again with the same id.

    Attributes:
        answers: in order of their coming.
        silent: submissions that had no answer in time although the connection stood.
        acked: seq by client_msg_id.
    """

    def __init__(
        self, stage: ChaosStage, user_id: str, group_id: str, *, on_ack: Callable[[int, int], None], first_edge: int = 0
    ) -> None:
        super().__init__(stage, user_id, group_id, first_edge=first_edge)
        self.answers: list[Answer] = []
        self.silent: list[str] = []
        self.acked: dict[str, int] = {}
        self._on_ack = on_ack
        self._waiting: dict[str, float] = {}

    def work(self, client: FrameClient) -> None:
        for client_msg_id in list(self._waiting):
            self._send(client, client_msg_id)
        while not self.ending.is_set():
            self._send(client, new_id())
            self.next_frame(client, _PACE_SECONDS, lambda _: False)
            self._look_for_silence()
        # What is under way gets its answer, too.
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._waiting and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                self.take(client.next(0.25), time.monotonic())
        self._look_for_silence()

    def _send(self, client: FrameClient, client_msg_id: str) -> None:
        self._waiting[client_msg_id] = time.monotonic()
        client.request(send={"groupId": self.group_id, "clientMsgId": client_msg_id, "text": {"text": "probe"}})

    def _look_for_silence(self) -> None:
        now = time.monotonic()
        late = [client_msg_id for client_msg_id, sent in self._waiting.items() if now - sent > ANSWER_SECONDS]
        for client_msg_id in late:
            del self._waiting[client_msg_id]
            self.silent.append(client_msg_id)

    def take(self, frame: Frame, now: float) -> None:
        ack, reject = frame.get("ack"), frame.get("reject")
        said = ack or reject or {}
        client_msg_id = said.get("clientMsgId", "")
        if ack is not None:
            # It may come after a refusal for want of an answer: then it is stored all the same.
            before = self.acked.setdefault(client_msg_id, int(ack["seq"]))
            if before != int(ack["seq"]):
                raise AssertionError(f"I2: {client_msg_id} was ACKed as {before} and as {ack['seq']}")
        sent = self._waiting.pop(client_msg_id, None)
        if sent is None:
            return
        code, retry_after_ms = (reject.get("code", "?"), int(reject.get("retryAfterMs", 0))) if reject else ("", 0)
        self.answers.append(Answer(client_msg_id, now, now - sent, int((ack or {}).get("seq", 0)), code, retry_after_ms))
        if ack is not None:
            self._on_ack(int(ack["seq"]), len(self.acked))

    def refusals(self, since: float, until: float) -> list[Answer]:
        """Refusals that came between two monotonic times."""
        return [answer for answer in self.answers if answer.code and since <= answer.at <= until]
