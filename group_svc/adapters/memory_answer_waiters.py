"""Adapter `memory` of `AnswerWaiters`: callers of SendMessage and RecallMessage that wait in this process."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable

from group_svc.core.internal_origin import internal_edge_id
from group_svc.ports import AnswerPublication
from throng.domain.errors import unavailable
from throng.domain.ids import ConnId, EdgeId, GroupId
from throng.domain.message import Origin


class MemoryAnswerWaiters:
    """Who waits, by conn_id. The edge_id names this object alone, so no other's answers are mistaken for ours."""

    def __init__(self, *, incarnation: int) -> None:
        self._edge_id: EdgeId | None = None
        self._incarnation = incarnation
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._waiting: dict[ConnId, tuple[Origin, Callable[[AnswerPublication], None]]] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def open(self, address: str) -> None:
        """Lets callers in; other group services bring answers to `address` (host:port).

        Raises:
            ValueError: the address does not fit into an edge_id.
        """
        self._edge_id = internal_edge_id(address, uuid.uuid4().hex)

    def register(self, on_answer: Callable[[AnswerPublication], None]) -> Origin:
        """Makes an origin whose answer calls `on_answer` once.

        Raises:
            ThrongError: UNAVAILABLE before `open` and after `close`.
        """
        with self._lock:
            if self._closed or self._edge_id is None:
                raise unavailable("the group service starts or stops")
            conn_id = ConnId(f"call-{next(self._numbers)}")
            origin = Origin(self._edge_id, self._incarnation, conn_id)
            self._waiting[conn_id] = (origin, on_answer)
            return origin

    def forget(self, origin: Origin) -> None:
        """Waits no more. Idempotent."""
        with self._lock:
            self._waiting.pop(origin.conn_id, None)

    def deliver(self, answer: AnswerPublication) -> bool:
        """Calls whoever waits; False when the origin is none of this process."""
        if answer.origin.edge_id != self._edge_id:
            return False
        with self._lock:
            waiting = self._waiting.pop(answer.origin.conn_id, None)
        if waiting is not None:
            waiting[1](answer)
        return True

    def close(self) -> None:
        """Answers everyone who still waits with UNAVAILABLE, and refuses new callers. Idempotent."""
        with self._lock:
            self._closed = True
            left = list(self._waiting.values())
            self._waiting.clear()
        for origin, on_answer in left:
            error = unavailable("the group service stops; whether the message was stored is not known")
            on_answer(AnswerPublication(origin, GroupId(""), "", None, error=error))
