"""Resume tokens: what an edge knew of a membership, signed, so that a returning client needs no look-up (design 9, ADR 0011).

    <expires, s>.<epoch>.<members_version>.<role>.<muted until, ms>.<signature>      numbers in hexadecimal

User and group are signed with them and stand in no token: they are known where it is shown. Pure; nothing is kept.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass

from throng.domain.group import Role
from throng.domain.ids import GroupId, UserId
from throng.ports.clock import Clock

LIFE_SECONDS = 900
"""Life of a token; a connection gets a fresh one every third of it."""

MAX_TOKEN_CHARACTERS = 256
KEY_PURPOSE = b"throng resume token v1"
"""What the key is derived for, out of a secret that serves another purpose, too."""

_SIGNATURE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Grant:
    """A membership as it was when `members_version` of `epoch` was the newest that the edge had heard of."""

    epoch: int
    members_version: int
    role: Role
    muted_until_ms: int


class ResumeTokens:
    """Makes and reads tokens; with an empty key there are none."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def issue(self, user_id: UserId, group_id: GroupId, grant: Grant) -> str:
        """Makes a token; empty: there are none here."""
        if not self._key or grant.role is Role.NONE:
            return ""
        expires = self._clock.now_ms() // 1000 + LIFE_SECONDS
        text = f"{expires:x}.{grant.epoch:x}.{grant.members_version:x}.{grant.role:x}.{grant.muted_until_ms:x}"
        return f"{text}.{self._signature(user_id, group_id, text)}"

    def read(self, user_id: UserId, group_id: GroupId, token: str) -> Grant | None:
        """What a token grants this user in this group; None: nothing."""
        if not self._key or not token or len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
            return None
        text, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature, self._signature(user_id, group_id, text)):
            return None
        expires, epoch, version, role, muted = (int(number, 16) for number in text.split("."))
        if expires * 1000 <= self._clock.now_ms():
            return None
        return Grant(epoch, version, Role(role), muted)

    def _signature(self, user_id: str, group_id: str, text: str) -> str:
        signed = f"{user_id} {group_id} {text}".encode()  # no identifier holds a space
        return (
            base64.urlsafe_b64encode(hmac.new(self._key, signed, hashlib.sha256).digest()[:_SIGNATURE_BYTES]).decode().rstrip("=")
        )
