"""Tokens as JWT (hop 1): issued with a secret, verified with a secret (HS256) or a public key (EdDSA).

The algorithm comes from the key, never from the token: a verifier that holds a public key cannot be talked into HS256.
"""

from __future__ import annotations

import hmac
import pathlib
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from throng.adapters.jwt_hs256 import QuickReader
from throng.adapters.system_clock import SystemClock
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import UserId, check_identifier, is_identifier
from throng.domain.limits import MAX_NAME_CHARACTERS
from throng.ports.clock import Clock
from throng.ports.tokens import TokenIdentity

AUDIENCE = "throng"
LEEWAY_SECONDS = 5
"""How far the clocks of issuer and edge may differ."""

MIN_SECRET_BYTES = 32
MAX_TOKEN_CHARACTERS = 4_096
_VERIFY: Any = {"require": ["sub", "exp", "aud"], "verify_exp": False, "verify_iat": False, "verify_nbf": False}


class TokenKeyError(ThrongError):
    """A key file cannot be used; the text is one sentence for the operator and never holds the key."""

    def __init__(self, text: str) -> None:
        super().__init__(ErrorCode.INVALID_ARGUMENT, text)


class TokenKey:
    """A key together with the one algorithm it may be used for; its repr shows the algorithm alone."""

    __slots__ = ("_key", "_quick", "algorithm", "may_sign")

    def __init__(self, key: Any, algorithm: str, *, may_sign: bool) -> None:
        self._key = key
        self._quick = QuickReader(key) if algorithm == "HS256" else None
        self.algorithm = algorithm
        self.may_sign = may_sign

    def __repr__(self) -> str:
        return f"TokenKey({self.algorithm})"

    def sign(self, claims: dict[str, Any]) -> str:
        """Makes a token of claims."""
        return jwt.encode(claims, self._key, algorithm=self.algorithm)

    def derive(self, purpose: bytes) -> bytes:
        """A key of 32 bytes for another purpose, which tells nothing about this one; needs a secret."""
        if self.algorithm != "HS256":
            raise TokenKeyError("Only a secret can serve other purposes.")
        return hmac.digest(self._key, purpose, "sha256")

    def read(self, token: str, audience: str) -> dict[str, Any]:
        """Returns the claims of a token of ours; raises what PyJWT raises."""
        if self._quick is not None:
            known = self._quick.read(token, audience)
            if known is not None:
                return known
        claims: dict[str, Any] = jwt.decode(token, self._key, algorithms=[self.algorithm], audience=audience, options=_VERIFY)
        if self._quick is not None:
            self._quick.learn(token)
        return claims


def secret_key(secret: bytes) -> TokenKey:
    """Makes an HS256 key.

    Raises:
        TokenKeyError: it is shorter than 32 bytes.
    """
    if len(secret) < MIN_SECRET_BYTES:
        raise TokenKeyError(f"The secret for tokens must have at least {MIN_SECRET_BYTES} bytes.")
    return TokenKey(secret, "HS256", may_sign=True)


def load_secret(path: pathlib.Path) -> TokenKey:
    """Reads an HS256 secret; white space around it does not count.

    Raises:
        TokenKeyError: the file cannot be read or the secret is too short.
    """
    return secret_key(_read(path).strip())


def load_public_key(path: pathlib.Path) -> TokenKey:
    """Reads an Ed25519 or Ed448 public key in PEM, for verifying only.

    Raises:
        TokenKeyError: the file cannot be read or is no such key.
    """
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey | Ed448PublicKey):
        raise TokenKeyError(f"{path} does not hold an Ed25519 or Ed448 public key in PEM.")
    return TokenKey(key, "EdDSA", may_sign=False)


def load_private_key(path: pathlib.Path) -> TokenKey:
    """Reads an Ed25519 or Ed448 private key in PEM without passphrase, for issuing.

    Raises:
        TokenKeyError: the file cannot be read or is no such key.
    """
    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey | Ed448PrivateKey):
        raise TokenKeyError(f"{path} does not hold an Ed25519 or Ed448 private key in PEM without passphrase.")
    return TokenKey(key, "EdDSA", may_sign=True)


def _read(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TokenKeyError(f"The key file {path} cannot be read: {error.strerror}.") from error


class TokenIssuer:
    """Makes tokens: `throng token` and the development login."""

    def __init__(self, key: TokenKey, *, clock: Clock, audience: str = AUDIENCE) -> None:
        if not key.may_sign:
            raise TokenKeyError("A public key cannot issue tokens; give the secret or the private key.")
        self._key = key
        self._clock = clock
        self._audience = audience

    @classmethod
    def from_file(cls, path: pathlib.Path, *, audience: str = AUDIENCE) -> TokenIssuer:
        """Makes an issuer that signs with the HS256 secret in a file, by the system's clock.

        Raises:
            TokenKeyError: the file cannot be read or the secret is too short.
        """
        return cls(load_secret(path), clock=SystemClock(), audience=audience)

    def issue(self, user_id: str, *, ttl_seconds: int, name: str = "") -> str:
        """Makes a token for one user; `name` is shown to people.

        Raises:
            ThrongError: INVALID_ARGUMENT for a user_id or name outside its limits, or a lifetime below a second.
        """
        check_identifier(user_id, "user_id")
        if ttl_seconds < 1:
            raise _invalid("ttl_seconds", "a token must live for at least one second")
        if len(name) > MAX_NAME_CHARACTERS:
            raise _invalid("name", f"a name has at most {MAX_NAME_CHARACTERS} characters")
        now_seconds = self._clock.now_ms() // 1000
        claims: dict[str, Any] = {"sub": user_id, "aud": self._audience, "iat": now_seconds, "exp": now_seconds + ttl_seconds}
        if name:
            claims["name"] = name
        return self._key.sign(claims)


class JwtTokenVerifier:
    """`TokenVerifier` over one key."""

    def __init__(self, key: TokenKey, *, clock: Clock, audience: str = AUDIENCE) -> None:
        self._key = key
        self._clock = clock
        self._audience = audience

    def verify(self, token: str) -> TokenIdentity:
        """Checks signature, audience, times and subject.

        Raises:
            ThrongError: UNAUTHENTICATED.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise _refused("the token is not valid: it is too long")
        try:
            claims = self._key.read(token, self._audience)
        except jwt.InvalidAudienceError:
            raise _refused("the token is not valid: it is meant for another audience") from None
        except jwt.MissingRequiredClaimError as error:
            raise _refused(f"the token is not valid: the claim {error.claim} is missing") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise _refused("the token is not valid") from None
        return self._identity(claims)

    def _identity(self, claims: dict[str, Any]) -> TokenIdentity:
        now_seconds = self._clock.now_ms() / 1000
        expires, not_before, subject = claims["exp"], claims.get("nbf", 0), claims["sub"]
        if not _is_time(expires) or not _is_time(not_before):
            raise _refused("the token is not valid: its times are not numbers")
        if now_seconds >= expires + LEEWAY_SECONDS:
            raise _refused("the token has expired")
        if now_seconds < not_before - LEEWAY_SECONDS:
            raise _refused("the token is not valid yet")
        if not isinstance(subject, str) or not is_identifier(subject):
            raise _refused("the token is not valid: the claim sub is not a user_id")
        name = claims.get("name", "")
        display_name = name.strip()[:MAX_NAME_CHARACTERS] if isinstance(name, str) else ""
        return TokenIdentity(UserId(subject), display_name, int(expires * 1000))


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**40


def _refused(text: str) -> ThrongError:
    return ThrongError(ErrorCode.UNAUTHENTICATED, text)


def _invalid(field: str, text: str) -> ThrongError:
    return ThrongError(ErrorCode.INVALID_ARGUMENT, text, fields={"field": field})
