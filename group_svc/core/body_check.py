"""What a body may be: kinds, sizes, non-blank text, addresses, mentions (hop 4); pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from group_svc.core.group_rules import MAX_SEQ
from group_svc.ports import BodyFacts
from throng.domain import limits
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import is_identifier
from throng.domain.message import MessageKind


def check_body(facts: BodyFacts, *, size_bytes: int) -> None:
    """Refuses a body that breaks the contract of throng.common.v1.Message.

    Raises:
        ThrongError: INVALID_ARGUMENT, TOO_LARGE, EMPTY_MESSAGE, LIMIT_EXCEEDED or MESSAGE_NOT_FOUND, with the field's name.
    """
    if size_bytes > limits.MAX_BODY_BYTES:
        raise _too_large("body", f"{limits.MAX_BODY_BYTES} bytes")
    if facts.foreign_fields:
        raise _invalid("body", "only content, mentions and reply_to_seq may be set")
    if len(facts.mentions) > limits.MAX_MENTIONS:
        raise ThrongError(
            ErrorCode.LIMIT_EXCEEDED,
            f"at most {limits.MAX_MENTIONS} people can be mentioned",
            fields={"field": "mentions", "limit": str(limits.MAX_MENTIONS)},
        )
    if not all(is_identifier(user_id) for user_id in facts.mentions):
        raise _invalid("mentions", "each must be a user_id")
    if facts.kind is MessageKind.TEXT:
        _check_text(facts)
    elif facts.kind is MessageKind.IMAGE:
        _check_image(facts)
    elif facts.kind is MessageKind.CUSTOM:
        _check_custom(facts)
    elif facts.kind is MessageKind.SYSTEM:
        _check_system(facts)
    elif not 1 <= facts.target_seq <= MAX_SEQ:
        raise ThrongError(ErrorCode.MESSAGE_NOT_FOUND, "there is no such message", fields={"field": "target_seq"})


def _check_text(facts: BodyFacts) -> None:
    if len(facts.text) > limits.MAX_TEXT_CHARACTERS:
        raise _too_large("text", f"{limits.MAX_TEXT_CHARACTERS} characters")
    if not facts.text.strip():
        raise ThrongError(ErrorCode.EMPTY_MESSAGE, "There is nothing in the message.", fields={"field": "text"})


def _check_image(facts: BodyFacts) -> None:
    if len(facts.url) > limits.MAX_URL_CHARACTERS:
        raise _too_large("url", f"{limits.MAX_URL_CHARACTERS} characters")
    if not is_web_address(facts.url):
        raise _invalid("url", "it must be an http or https address, or a path that begins with one slash")
    if not (1 <= facts.width <= 65_535 and 1 <= facts.height <= 65_535):
        raise _invalid("width", "width and height must be 1 to 65,535")
    if len(facts.alt) > limits.MAX_ALT_CHARACTERS:
        raise _too_large("alt", f"{limits.MAX_ALT_CHARACTERS} characters")


def is_web_address(url: str) -> bool:
    """An http(s) address with a host, or a path on the page's own host; no blanks, controls or backslashes."""
    if any(character.isspace() or not character.isprintable() or character == "\\" for character in url):
        return False
    if url.startswith("/"):
        return not url.startswith("//")
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _check_custom(facts: BodyFacts) -> None:
    if not is_identifier(facts.label):
        raise _invalid("type", "it must be 1 to 64 of A-Z a-z 0-9 _ - . :")
    if facts.payload_bytes > limits.MAX_CUSTOM_BYTES:
        raise _too_large("payload", f"{limits.MAX_CUSTOM_BYTES} bytes")


def _check_system(facts: BodyFacts) -> None:
    if not is_identifier(facts.label):
        raise _invalid("kind", "it must be 1 to 64 of A-Z a-z 0-9 _ - . :")
    if len(facts.text) > limits.MAX_TEXT_CHARACTERS:
        raise _too_large("text", f"{limits.MAX_TEXT_CHARACTERS} characters")


def _invalid(field: str, why: str) -> ThrongError:
    return ThrongError(ErrorCode.INVALID_ARGUMENT, f"{field} is not valid: {why}", fields={"field": field})


def _too_large(field: str, limit: str) -> ThrongError:
    return ThrongError(ErrorCode.TOO_LARGE, f"{field} is longer than {limit}", fields={"field": field, "limit": limit})
