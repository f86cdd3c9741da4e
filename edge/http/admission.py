"""Decides about an upgrade to WebSocket (hop 1): one order of checks, one HTTP code and one JSON body per refusal.

    426/400 method, headers, version -> 403 origin -> 401 token -> 400 subprotocol -> 400 groups, delivery -> 503 ready, room

Pure: headers and arguments in, an admission out or a refusal raised. What is asked of the token comes before what is said
about groups, so that a stranger learns nothing.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Delivery
from throng.domain.ids import GroupId, is_identifier
from throng.ports.tokens import TokenIdentity, TokenVerifier

PROTOBUF = "throng.v1.protobuf"
JSON = "throng.v1.json"
_BEARER = "bearer."
_DELIVERIES = {"": Delivery.UNSPECIFIED, "inline": Delivery.INLINE, "notify": Delivery.NOTIFY}


class Refusal(Exception):
    """An upgrade is refused with an HTTP status; `outcome` is the label of the metric."""

    def __init__(
        self, status: int, outcome: str, code: ErrorCode, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.outcome = outcome
        self.code = code
        self.text = text
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """What the checks look at; header names in lower case, arguments decoded, each with all its values."""

    method: str
    headers: Mapping[str, str]
    arguments: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class UpgradeRules:
    """The settings that matter here."""

    allowed_origins: Collection[str]
    allow_access_token_query: bool
    max_groups: int


@dataclass(frozen=True, slots=True)
class Admission:
    """An upgrade that is admitted. `subprotocol` None: none was offered, JSON is spoken and none is named."""

    key: str
    identity: TokenIdentity
    subprotocol: str | None
    groups: tuple[GroupId, ...]
    delivery: Delivery

    @property
    def binary(self) -> bool:
        """Whether frames are protobuf."""
        return self.subprotocol == PROTOBUF


def admit(request: UpgradeRequest, rules: UpgradeRules, verifier: TokenVerifier) -> Admission:
    """Runs all checks that need nothing but the request.

    Raises:
        Refusal: the first check that fails.
    """
    key = _check_headers(request)
    check_origin(request.headers, rules.allowed_origins)
    offered = _offered(request.headers)
    identity = _check_token(request, offered, rules, verifier)
    subprotocol = _choose(offered)
    groups = _check_groups(request.arguments, rules.max_groups)
    delivery = _DELIVERIES.get(_one(request.arguments, "delivery").lower())
    if delivery is None:
        raise Refusal(400, "bad_arguments", ErrorCode.INVALID_ARGUMENT, "delivery must be inline or notify")
    return Admission(key, identity, subprotocol, groups, delivery)


def check_origin(headers: Mapping[str, str], allowed: Collection[str]) -> None:
    """Lets programs without Origin pass, pages of allowed origins, and, when none are set, those of the edge's own host.

    Raises:
        Refusal: 403.
    """
    origin = headers.get("origin", "").lower()
    if not origin or "*" in allowed or origin in allowed:
        return
    if not allowed and urlsplit(origin).netloc == headers.get("host", "").lower():
        return
    raise Refusal(403, "foreign_origin", ErrorCode.PERMISSION_DENIED, "pages of this origin may not connect")


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token of the Authorization header; empty: none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _check_headers(request: UpgradeRequest) -> str:
    headers = request.headers
    if request.method != "GET":
        raise Refusal(400, "bad_request", ErrorCode.INVALID_ARGUMENT, "an upgrade is a GET request")
    upgrades = {part.strip().lower() for part in headers.get("upgrade", "").split(",")}
    connection = {part.strip().lower() for part in headers.get("connection", "").split(",")}
    if "websocket" not in upgrades or "upgrade" not in connection:
        raise Refusal(
            426, "no_upgrade", ErrorCode.INVALID_ARGUMENT, "this address speaks WebSocket only",
            {"Upgrade": "websocket", "Connection": "Upgrade"},
        )
    if headers.get("sec-websocket-version", "").strip() != "13":
        raise Refusal(
            426, "bad_version", ErrorCode.INVALID_ARGUMENT, "only version 13 of WebSocket is spoken",
            {"Sec-WebSocket-Version": "13", "Upgrade": "websocket", "Connection": "Upgrade"},
        )
    key = headers.get("sec-websocket-key", "").strip()
    if not _is_key(key):
        raise Refusal(400, "bad_request", ErrorCode.INVALID_ARGUMENT, "Sec-WebSocket-Key must be 16 bytes in base64")
    return key


def _is_key(key: str) -> bool:
    try:
        return len(b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _offered(headers: Mapping[str, str]) -> list[str]:
    return [part.strip() for part in headers.get("sec-websocket-protocol", "").split(",") if part.strip()]


def _check_token(
    request: UpgradeRequest, offered: Sequence[str], rules: UpgradeRules, verifier: TokenVerifier
) -> TokenIdentity:
    token = bearer_token(request.headers)
    if not token:
        token = next((part[len(_BEARER) :] for part in offered if part.startswith(_BEARER)), "")
    if not token and rules.allow_access_token_query:
        token = _one(request.arguments, "access_token")
    if not token:
        raise _unauthenticated("no_token", "a token is needed")
    try:
        return verifier.verify(token)
    except ThrongError as error:
        raise _unauthenticated("token_expired" if "expired" in error.text else "token_invalid", error.text) from None


def _unauthenticated(outcome: str, text: str) -> Refusal:
    return Refusal(401, outcome, ErrorCode.UNAUTHENTICATED, text, {"WWW-Authenticate": 'Bearer realm="throng"'})


def _choose(offered: Sequence[str]) -> str | None:
    """The first of ours in the client's order; a lone bearer counts as no offer."""
    ours = [part for part in offered if part in (PROTOBUF, JSON)]
    if ours:
        return ours[0]
    if all(part.startswith(_BEARER) for part in offered):
        # A browser that offers a subprotocol insists on an answer, so a lone bearer cannot be met; without any offer JSON is spoken.
        if not offered:
            return None
    raise Refusal(400, "bad_subprotocol", ErrorCode.INVALID_ARGUMENT, f"offer the subprotocol {PROTOBUF} or {JSON}")


def _check_groups(arguments: Mapping[str, Sequence[str]], maximum: int) -> tuple[GroupId, ...]:
    groups = list(dict.fromkeys(part for value in arguments.get("groups", ()) for part in value.split(",") if part))
    if len(groups) > maximum:
        raise Refusal(400, "bad_arguments", ErrorCode.LIMIT_EXCEEDED, f"groups names more than {maximum} groups")
    for group in groups:
        if not is_identifier(group):
            raise Refusal(
                400, "bad_arguments", ErrorCode.INVALID_ARGUMENT, "groups must name group_ids: 1 to 64 of A-Z a-z 0-9 _ - . :"
            )
    return tuple(GroupId(group) for group in groups)


def _one(arguments: Mapping[str, Sequence[str]], name: str) -> str:
    values = arguments.get(name, ())
    return values[-1] if values else ""
