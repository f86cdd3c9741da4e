"""What clients ask for (hops 1 and 8), as the codec hands it over: well-formed, not yet checked against rules."""

from __future__ import annotations

from dataclasses import dataclass

from throng.domain.group import Delivery
from throng.domain.message import MessageKind
from throng.domain.quick_values import quick_value


class MalformedFrameError(Exception):
    """The bytes are no ClientFrame, or its oneof is empty or unknown; `request_id` as far as it could be read, otherwise 0."""

    def __init__(self, text: str, request_id: int = 0) -> None:
        super().__init__(text)
        self.text = text
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class Enter:
    """Takes part in a group; `seq` of `epoch` is the newest one held, 0: none. `resume_token`: the last one given; may be empty."""

    request_id: int
    group_id: str
    epoch: int = 0
    seq: int = 0
    delivery: Delivery = Delivery.UNSPECIFIED
    resume_token: str = ""


@dataclass(frozen=True, slots=True)
class Leave:
    """Takes no part in a group any more."""

    request_id: int
    group_id: str


@quick_value(frozen=True, slots=True)
class TextContent:
    """Plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class ImageContent:
    """A picture that lies elsewhere; pixels."""

    url: str
    width: int
    height: int
    alt: str = ""


@dataclass(frozen=True, slots=True)
class CustomContent:
    """An application's payload."""

    type: str
    payload_bytes: int


Content = TextContent | ImageContent | CustomContent


@quick_value(frozen=True, slots=True)
class Send:
    """Submits a message.

    Attributes:
        kind: what the body is; None when there is no content.
        content: what the rules look at.
        body: serialized Message with only content, mentions and reply_to_seq set, deterministic.
    """

    request_id: int
    group_id: str
    client_msg_id: str
    kind: MessageKind | None
    content: Content | None
    body: bytes
    mentions: tuple[str, ...] = ()
    reply_to_seq: int = 0


@dataclass(frozen=True, slots=True)
class Pull:
    """Asks for what lies after one seq up to another (0: the head)."""

    request_id: int
    group_id: str
    after_seq: int
    up_to_seq: int = 0
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class History:
    """Asks for a page below a seq (0: the newest)."""

    request_id: int
    group_id: str
    before_seq: int = 0
    limit: int = 0


@dataclass(frozen=True, slots=True)
class ReportRead:
    """Notes how far the user has read."""

    request_id: int
    group_id: str
    read_seq: int


@dataclass(frozen=True, slots=True)
class Recall:
    """Takes a message back."""

    request_id: int
    group_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class DeleteForMe:
    """Deletes a message for this user alone."""

    request_id: int
    group_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class ListGroups:
    """Asks for all groups of the user."""

    request_id: int


@dataclass(frozen=True, slots=True)
class SetVisibility:
    """Tells that the page is hidden or shown."""

    request_id: int
    hidden: bool


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for a pong."""

    request_id: int


Request = Enter | Leave | Send | Pull | History | ReportRead | Recall | DeleteForMe | ListGroups | SetVisibility | Ping

OfGroup = Send | Pull | History | ReportRead | Recall | DeleteForMe
"""What is asked of a group that was entered."""
