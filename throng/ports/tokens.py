"""Port `TokenVerifier`: who a bearer token says somebody is (hop 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from throng.domain.ids import UserId


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """What a valid token says.

    Attributes:
        user_id: who it is.
        display_name: name for people; may be empty.
        expires_at_ms: when the token ends, milliseconds since 1970 UTC.
    """

    user_id: UserId
    display_name: str
    expires_at_ms: int


class TokenVerifier(Protocol):
    """Purpose: proves who a client is; nothing else in Throng decides that (I9).

    Ordering, durability: none. Idempotency: the same token gives the same answer until it ends.
    Concurrency: any thread; no I/O.
    Errors: UNAUTHENTICATED with one sentence that says whether the token has expired or is not valid; the sentence and the
    error's chain never hold the token or the key.
    Not promised: that a token which was valid at the door is still valid later; `expires_at_ms` tells until when.
    """

    def verify(self, token: str) -> TokenIdentity:
        """Checks signature, audience, times and subject."""
        ...
