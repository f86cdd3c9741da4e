"""Identifiers: 1 to 64 of `A-Z a-z 0-9 _ - . :`, compared byte by byte, and UUIDs of messages."""

from __future__ import annotations

import functools
import re
import uuid
from typing import NewType

from throng.domain.errors import ErrorCode, ThrongError

GroupId = NewType("GroupId", str)
UserId = NewType("UserId", str)
EdgeId = NewType("EdgeId", str)
ConnId = NewType("ConnId", str)

_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_RECALLS = uuid.UUID("5f0f7c2e-7a35-5d0c-9c0b-3e0f3f1f6b1d")
"""Namespace of the ids of recalls; never change it, or repeats would become new events."""


@functools.lru_cache(maxsize=16_384)
def is_identifier(text: str) -> bool:
    """Tells whether `text` may be a group_id, user_id or edge_id. The same few are looked at again and again: 0.1 µs, not 0.5."""
    return _IDENTIFIER.fullmatch(text) is not None


def check_identifier(text: str, field: str) -> str:
    """Returns `text`.

    Raises:
        ThrongError: INVALID_ARGUMENT that names `field`, when it is no identifier.
    """
    if not is_identifier(text):
        raise ThrongError(
            ErrorCode.INVALID_ARGUMENT,
            f"{field} must be 1 to 64 of A-Z a-z 0-9 _ - . :",
            fields={"field": field},
        )
    return text


def check_client_msg_id(text: str) -> str:
    """Returns the UUID in lower case.

    Raises:
        ThrongError: INVALID_ARGUMENT, when `text` is not a UUID in its 36-character form.
    """
    if _UUID.fullmatch(text) is None:
        raise ThrongError(
            ErrorCode.INVALID_ARGUMENT,
            "client_msg_id must be a UUID in its 36-character form",
            fields={"field": "client_msg_id"},
        )
    return text.lower()


def recall_msg_id(group_id: GroupId, user_id: UserId, seq: int) -> str:
    """The client_msg_id of a recall: the same for every repeat, so that one user's repeats are one event (I2)."""
    return str(uuid.uuid5(_RECALLS, f"{group_id}/{user_id}/{seq}"))
