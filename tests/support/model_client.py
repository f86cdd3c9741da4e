"""A client that follows docs/protocol.md and nothing else, for random schedules."""

from __future__ import annotations

from typing import ClassVar

from session_stage import FakeConnection, SessionStage

from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import message_pb2

GROUP = "g"


class ModelClient:
    """Follows docs/protocol.md, section 3; `shown` is what its page shows, in order, since it last had to start again."""

    UNDERSTOOD: ClassVar = {"entered", "block", "notice", "pulled", "failure"}

    def __init__(self, stage: SessionStage, user_id: str, *, binary: bool, delivery: str) -> None:
        self.stage = stage
        self.user_id = user_id
        self.binary = binary
        self.delivery = delivery
        self.connection: FakeConnection | None = None
        self.epoch = 0
        self.held = 0
        self.target = 0
        self.inside = False
        self.pulling = 0
        self.shown: list[int] = []
        self.content: dict[int, message_pb2.Message] = {}
        self.next_request = 0

    def connect(self) -> None:
        if self.connection is None:
            self.connection = self.stage.open(self.user_id, binary=self.binary)
            self.inside, self.pulling = False, 0
            self.enter()

    def disconnect(self) -> None:
        if self.connection is not None:
            self.stage.sessions.on_closed(self.connection, 1006)
            self.connection = None

    def enter(self) -> None:
        self.ask(enter={"group_id": GROUP, "epoch": self.epoch, "seq": self.held, "delivery": self.delivery})

    def ask(self, **request: object) -> None:
        self.next_request += 1
        assert self.connection is not None
        self.stage.ask(self.connection, self.next_request, **request)

    def read(self) -> None:
        """Takes what came, and asks for what is missing."""
        if self.connection is None:
            return
        for frame in self.connection.take():
            name = frame.WhichOneof("event")
            if name in self.UNDERSTOOD:
                getattr(self, name)(frame)
        if self.inside and self.target > self.held and not self.pulling:
            self.ask(pull={"group_id": GROUP, "after_seq": self.held, "up_to_seq": self.target, "epoch": self.epoch})
            self.pulling = self.next_request

    def entered(self, frame: client_pb2.ServerFrame) -> None:
        entered = frame.entered
        self.inside = True
        first = entered.messages[0].seq if entered.messages else self.held + 1
        if entered.reset or entered.group.epoch != self.epoch or first > self.held + 1:
            self.shown, self.content = [], {}
            self.epoch, self.held, self.target = entered.group.epoch, first - 1 if entered.messages else entered.group.head_seq, 0
        self.take(entered.messages)
        self.target = max(self.target, entered.group.head_seq)

    def block(self, frame: client_pb2.ServerFrame) -> None:
        block = frame.block
        assert self.inside
        if block.epoch != self.epoch:
            self.enter()
        elif block.prev_seq <= self.held:
            self.take(block.messages)
        else:
            self.target = max(self.target, block.messages[-1].seq)

    def notice(self, frame: client_pb2.ServerFrame) -> None:
        if frame.notice.epoch != self.epoch:
            self.enter()
        self.target = max(self.target, frame.notice.head_seq)

    def pulled(self, frame: client_pb2.ServerFrame) -> None:
        if frame.request_id == self.pulling:
            self.pulling = 0
        if frame.pulled.epoch == self.epoch and frame.pulled.after_seq <= self.held:
            self.take(frame.pulled.messages)

    def failure(self, frame: client_pb2.ServerFrame) -> None:
        if frame.request_id == self.pulling:
            self.pulling = 0
        if not self.inside:
            self.enter()

    def take(self, messages: object) -> None:
        seqs = [message.seq for message in messages]  # type: ignore[attr-defined]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True, "a hole inside a frame"
        for message in messages:  # type: ignore[attr-defined]
            if message.seq == self.held + 1:
                self.held = message.seq
                self.shown.append(message.seq)
                self.content[message.seq] = message
                target = message.recall.target_seq
                if target in self.content:
                    self.content[target] = message_pb2.Message(seq=target, recalled_by_seq=message.seq)
