"""A client that reconnects to the other edge, on a thread of its own: what all watchers of chaos tests are built on."""

from __future__ import annotations

import abc
import threading
import time
from collections.abc import Callable
from typing import Any

from chaos_stage import ChaosStage
from frame_client import Closed, FrameClient, Refused

Frame = dict[str, Any]
GONE = (OSError, Closed, Refused, TimeoutError)
_PAUSE_SECONDS = 0.2


class Chatter(abc.ABC):
    """One user in one group. `frames` are given to `take` with their monotonic time; `work` says what is done on a connection."""

    def __init__(self, stage: ChaosStage, user_id: str, group_id: str, *, first_edge: int = 0) -> None:
        self._stage = stage
        self.user_id = user_id
        self.group_id = group_id
        self._edge = first_edge
        self.ending = threading.Event()
        self.entered = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"chatter-{user_id}")
        self._error: BaseException | None = None
        self.connections = 0

    def start(self) -> None:
        """Starts; `entered` is set when it takes part for the first time."""
        self._thread.start()

    def join(self, seconds: float = 40.0) -> None:
        """Waits for the end of its thread; `ending` is set by the caller. Idempotent."""
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def stop(self) -> None:
        """Ends it; raises what went wrong on its thread."""
        self.ending.set()
        self.join()
        assert not self._thread.is_alive(), f"{self.user_id} does not end"
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self.ending.is_set():
                try:
                    self._connect()
                except GONE:
                    self._edge += 1
                    self.ending.wait(_PAUSE_SECONDS)
        except BaseException as error:
            self._error = error

    def _connect(self) -> None:
        urls = self._stage.cluster.edge_urls()
        client = FrameClient(urls[self._edge % len(urls)], self._stage.token(self.user_id), timeout_seconds=5.0)
        try:
            client.wait(lambda frame: "welcome" in frame)
            answer = client.ask(enter={"groupId": self.group_id, "epoch": 0, "seq": "0"})
            self.take(answer, time.monotonic())
            if "entered" not in answer:
                self.ending.wait(_PAUSE_SECONDS)
                return
            self.connections += 1
            self.entered.set()
            self.work(client)
        finally:
            client.close()

    def next_frame(self, client: FrameClient, seconds: float, matches: Callable[[Frame], bool]) -> Frame | None:
        """Gives frames to `take` until one matches; None: none did in time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                frame = client.next(min(left, 0.25))
            except TimeoutError:
                if self.ending.is_set():
                    return None
                continue
            self.take(frame, time.monotonic())
            if matches(frame):
                return frame
        return None

    @abc.abstractmethod
    def take(self, frame: Frame, now: float) -> None:
        """Looks at every frame."""

    @abc.abstractmethod
    def work(self, client: FrameClient) -> None:
        """Does what there is to do until the connection breaks (an exception of `GONE`) or `ending` is set."""
