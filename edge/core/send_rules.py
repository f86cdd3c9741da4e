"""What a submission must look like (hop 1): format and sizes, before anything leaves the edge."""

from __future__ import annotations

from edge.core.requests import CustomContent, ImageContent, Send, TextContent
from throng.domain import limits
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import is_identifier

MAX_PIXELS = 65_535


def check_send(send: Send) -> None:
    """Checks content, mentions and sizes.

    Raises:
        ThrongError: EMPTY_MESSAGE, TOO_LARGE, LIMIT_EXCEEDED or INVALID_ARGUMENT, with the field.
    """
    content = send.content
    if isinstance(content, TextContent):
        _check_text(content)
    elif isinstance(content, ImageContent):
        _check_image(content)
    elif isinstance(content, CustomContent):
        _check_custom(content)
    else:
        raise _refusal(ErrorCode.EMPTY_MESSAGE, "the message has no content", "content")
    if len(send.mentions) > limits.MAX_MENTIONS:
        raise _refusal(ErrorCode.LIMIT_EXCEEDED, f"a message names at most {limits.MAX_MENTIONS} users", "mentions")
    if not all(map(is_identifier, send.mentions)):
        raise _refusal(ErrorCode.INVALID_ARGUMENT, "mentions must be user ids", "mentions")
    if len(send.body) > limits.MAX_BODY_BYTES:
        raise _refusal(ErrorCode.TOO_LARGE, f"a message has at most {limits.MAX_BODY_BYTES} bytes", "content")


def _check_text(content: TextContent) -> None:
    if not content.text or content.text.isspace():
        raise _refusal(ErrorCode.EMPTY_MESSAGE, "the message is empty", "text")
    if len(content.text) > limits.MAX_TEXT_CHARACTERS:
        raise _refusal(ErrorCode.TOO_LARGE, f"a text has at most {limits.MAX_TEXT_CHARACTERS} characters", "text")


def _check_image(content: ImageContent) -> None:
    url = content.url
    if not url:
        raise _refusal(ErrorCode.EMPTY_MESSAGE, "the picture has no address", "url")
    if len(url) > limits.MAX_URL_CHARACTERS:
        raise _refusal(ErrorCode.TOO_LARGE, f"an address has at most {limits.MAX_URL_CHARACTERS} characters", "url")
    if len(content.alt) > limits.MAX_ALT_CHARACTERS:
        raise _refusal(ErrorCode.TOO_LARGE, f"alt has at most {limits.MAX_ALT_CHARACTERS} characters", "alt")
    is_path = url.startswith("/") and not url.startswith(("//", "/\\"))
    if not (url.startswith("https://") or is_path) or any(character <= " " for character in url):
        raise _refusal(ErrorCode.INVALID_ARGUMENT, "the address must begin with https:// or be a path", "url")
    if not (0 < content.width <= MAX_PIXELS and 0 < content.height <= MAX_PIXELS):
        raise _refusal(ErrorCode.INVALID_ARGUMENT, f"width and height must be 1 to {MAX_PIXELS}", "width")


def _check_custom(content: CustomContent) -> None:
    if not is_identifier(content.type):
        raise _refusal(ErrorCode.INVALID_ARGUMENT, "type must be 1 to 64 of A-Z a-z 0-9 _ - . :", "type")
    if content.payload_bytes > limits.MAX_CUSTOM_BYTES:
        raise _refusal(ErrorCode.TOO_LARGE, f"a payload has at most {limits.MAX_CUSTOM_BYTES} bytes", "payload")


def _refusal(code: ErrorCode, text: str, field: str) -> ThrongError:
    return ThrongError(code, text, fields={"field": field})
