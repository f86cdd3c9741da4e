"""Reads HS256 tokens without PyJWT's general machinery, which costs ten times the signature (hop 1).

Only says yes: to tokens whose header PyJWT has accepted before, byte for byte, with a right signature and plain claims. For
everything else it answers None, and PyJWT decides and words the refusal.
"""

from __future__ import annotations

import binascii
import hmac
import json
from typing import Any

MAX_HEADERS = 16
"""Headers that are remembered; an issuer writes one. Overflow policy: further ones are read by PyJWT each time."""


class QuickReader:
    """One secret. Any thread: what is shared is a set that only grows up to its bound."""

    __slots__ = ("_headers", "_secret")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._headers: set[str] = set()

    def learn(self, token: str) -> None:
        """PyJWT has accepted this token, so its header names our algorithm and nothing else that matters."""
        if len(self._headers) < MAX_HEADERS:
            self._headers.add(token.partition(".")[0])

    def read(self, token: str, audience: str) -> dict[str, Any] | None:
        """The claims of a token that is certainly good, its times not yet looked at; None: let PyJWT decide."""
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        if header not in self._headers or not token.isascii():
            return None
        digest = hmac.digest(self._secret, signed.encode(), "sha256")
        if not hmac.compare_digest(_base64url(digest), signature.encode()):
            return None
        try:
            claims = json.loads(binascii.a2b_base64(payload.replace("-", "+").replace("_", "/") + "=" * (-len(payload) % 4)))
        except (ValueError, RecursionError):
            return None
        if type(claims) is not dict or claims.get("aud") != audience or "exp" not in claims or "jti" in claims:
            return None
        return claims if isinstance(claims.get("sub"), str) else None


def _base64url(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").replace(b"+", b"-").replace(b"/", b"_")
