"""From bytes of a server to what receivers and senders take; frames that many receivers get alike are decoded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import message_pb2
from throng.bench.pages import OwnText, Page, digest, flaw_of, read_text
from throng.bench.websocket import BINARY, BrokenStreamError, split_frames
from throng.domain.errors import ErrorCode

CACHE_ENTRIES = 512
_FIRST_PAYLOAD = {bytes((126,)): 4, bytes((127,)): 10}
"""Where the payload of a frame begins by its second byte, if not behind that."""

_BROADCAST_TAGS = (b"\x32", b"\x3a")
"""First byte of a ServerFrame that holds a notice or a block and answers no request."""


class Notice(NamedTuple):
    """A head moved."""

    group_id: str
    epoch: int
    head_seq: int


class EnteredEvent(NamedTuple):
    """A group is entered."""

    page: Page
    head_seq: int
    reset: bool
    send_interval_ms: int


class PulledEvent(NamedTuple):
    """The answer to a pull."""

    page: Page
    head_seq: int


class AckEvent(NamedTuple):
    """A message is durable."""

    group_id: str
    client_msg_id: str
    epoch: int
    seq: int


class RejectEvent(NamedTuple):
    """A message was refused."""

    client_msg_id: str
    code: ErrorCode
    retry_after_ms: int


class FailureEvent(NamedTuple):
    """A request other than a message failed."""

    request_id: int
    code: ErrorCode
    retry_after_ms: int


class WelcomeEvent(NamedTuple):
    """First frame of a connection."""

    edge_id: str
    heartbeat_interval_ms: int
    reconnect_base_ms: int
    reconnect_max_ms: int


class DrainEvent(NamedTuple):
    """Come back after a while."""

    reconnect_after_ms: int


class OtherEvent(NamedTuple):
    """Something that a bench does not act on; `group_id` as far as it names one; `removed`: membership ended."""

    group_id: str
    removed: bool = False


Broadcast = Page | Notice
Event = Page | Notice | EnteredEvent | PulledEvent | AckEvent | RejectEvent | FailureEvent | WelcomeEvent | DrainEvent | OtherEvent


def stored_digest(message: message_pb2.Message, run_id: str) -> tuple[int, OwnText | None]:
    """Digest of a message, and what its text says when this run wrote it.

    Only of messages of this run the text counts: others may be taken back by people at any time.
    """
    own = read_text(message.text.text) if message.HasField("text") else None
    if own is None or own.run_id != run_id:
        return digest(message.sender_id, message.client_msg_id, ""), None
    return digest(message.sender_id, message.client_msg_id, message.text.text), own


class Decoder:
    """Decodes for one run; `look` is called once for every page that was decoded anew."""

    def __init__(self, run_id: str, look: Callable[[Page], None]) -> None:
        self._run_id = run_id
        self._look = look
        self._cache: dict[bytes, Sequence[Broadcast]] = {}
        self.cached = self._cache.get

    def broadcasts(self, data: bytes) -> Sequence[Broadcast] | None:
        """Decodes a chunk that holds nothing but whole blocks and notices, and remembers it; None: it holds something else."""
        begin = _FIRST_PAYLOAD.get(data[1:2], 2)
        if data[begin : begin + 1] not in _BROADCAST_TAGS:
            return None
        try:
            frames, rest = split_frames(data)
        except BrokenStreamError:
            return None
        if rest or not frames:
            return None
        if not all(frame.opcode == BINARY and frame.is_last and frame.payload[:1] in _BROADCAST_TAGS for frame in frames):
            return None
        events = []
        for frame in frames:
            event = self.event(frame.payload)
            if not isinstance(event, Page | Notice):
                return None
            events.append(event)
        if len(self._cache) >= CACHE_ENTRIES:
            del self._cache[next(iter(self._cache))]
        self._cache[data] = events
        return events

    def event(self, payload: bytes) -> Event:
        """Decodes one message of a server.

        Raises:
            BrokenStreamError: it is no ServerFrame.
        """
        try:
            frame = client_pb2.ServerFrame.FromString(payload)
        except DecodeError as error:
            raise BrokenStreamError("a message that is no ServerFrame") from error
        kind = frame.WhichOneof("event")
        if kind == "block":
            block = frame.block
            return self._page(block.group_id, block.epoch, block.prev_seq, block.messages)
        if kind == "notice":
            return Notice(frame.notice.group_id, frame.notice.epoch, frame.notice.head_seq)
        if kind in ("entered", "pulled"):
            return self._answer(frame, kind)
        return _other(frame, kind)

    def _answer(self, frame: client_pb2.ServerFrame, kind: str) -> Event:
        if kind == "pulled":
            pulled = frame.pulled
            page = self._page(pulled.group_id, pulled.epoch, pulled.after_seq, pulled.messages)
            return PulledEvent(page, pulled.head_seq)
        entered = frame.entered
        group = entered.group
        after_seq = entered.messages[0].seq - 1 if entered.messages else group.head_seq
        page = self._page(group.group_id, group.epoch, after_seq, entered.messages)
        return EnteredEvent(page, group.head_seq, entered.reset, group.settings.send_interval_ms)

    def _page(self, group_id: str, epoch: int, after_seq: int, messages: Sequence[Any]) -> Page:
        digests, created, foreign = [], [], []
        for message in messages:
            found, own = stored_digest(message, self._run_id)
            digests.append(found)
            created.append(own.created_ns if own else 0)
            if own and own.group_id != group_id:
                foreign.append(message.seq)
        seqs = [message.seq for message in messages]
        flaw = flaw_of(after_seq, seqs)
        last_seq = seqs[-1] if seqs else after_seq
        page = Page(group_id, epoch, after_seq, last_seq, tuple(digests), tuple(created), flaw, tuple(foreign))
        self._look(page)
        return page


def _other(frame: client_pb2.ServerFrame, kind: str | None) -> Event:
    if kind == "ack":
        ack = frame.ack
        return AckEvent(ack.group_id, ack.client_msg_id, ack.epoch, ack.seq)
    if kind == "reject":
        return RejectEvent(frame.reject.client_msg_id, _code(frame.reject.code), frame.reject.retry_after_ms)
    if kind == "failure":
        return FailureEvent(frame.request_id, _code(frame.failure.code), frame.failure.retry_after_ms)
    if kind == "welcome":
        welcome = frame.welcome
        return WelcomeEvent(
            welcome.edge_id,
            welcome.heartbeat_interval_ms,
            welcome.reconnect.base_ms,
            welcome.reconnect.max_ms,
        )
    if kind == "drain":
        return DrainEvent(frame.drain.reconnect_after_ms)
    if kind == "group_event":
        return OtherEvent(frame.group_event.group_id, frame.group_event.WhichOneof("event") == "removed")
    if kind == "online":
        return OtherEvent(frame.online.group_id)
    return OtherEvent("")


def _code(number: int) -> ErrorCode:
    try:
        return ErrorCode(number)
    except ValueError:
        return ErrorCode.INTERNAL
