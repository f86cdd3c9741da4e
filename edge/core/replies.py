"""Answers to one client (hop 7), and the refusals among them."""

from __future__ import annotations

from edge.core.codec import ClientCodec, Codecs
from edge.core.links import LinkHub
from edge.core.responses import Failure, Response, Welcome
from edge.core.retry_spread import RetrySpread
from edge.core.session import Session
from edge.core.session_counters import SessionCounters
from throng.domain.errors import ThrongError


class Replies:
    """Makes frames and hands them to the hub; nothing happens for a session that is closed."""

    def __init__(self, hub: LinkHub, codecs: Codecs, counters: SessionCounters, spread: RetrySpread) -> None:
        self._hub = hub
        self._codecs = codecs
        self._counters = counters
        self._spread = spread

    def codec(self, session: Session) -> ClientCodec:
        """The codec of a session's connection."""
        return self._codecs.of(binary=session.connection.binary)

    def send(self, session: Session, response: Response, request_id: int = 0) -> None:
        """Sends a response."""
        if not session.closed:
            codec = self.codec(session)
            self._hub.send(session.connection, codec.frame(codec.prepare(response), request_id))

    def greet(self, session: Session, greeting: bytes, welcome: Welcome | None = None) -> None:
        """Sends what is no frame, and the first frame behind it in one piece: each send costs more than what is in it."""
        codec = self.codec(session)
        first = greeting if welcome is None else greeting + codec.frame(codec.prepare(welcome))
        if first:
            self._hub.send(session.connection, first)

    def send_prepared(self, session: Session, prepared: bytes, request_id: int) -> None:
        """Sends a response that was prepared before."""
        if not session.closed:
            self._hub.send(session.connection, self.codec(session).frame(prepared, request_id))

    def fail(self, session: Session, request_id: int, error: ThrongError, group_id: str = "") -> None:
        """Refuses a request other than a submission."""
        self._counters.count(self._counters.failures, error.code.name)
        self.send(session, Failure(error.code, error.text, self._spread.retry_after_ms(error), group_id), request_id)
