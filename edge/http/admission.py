"""Decides about an upgrade to WebSocket (hop 1): one order of checks, one HTTP code and one JSON body per refusal.

    503 budget -> 400/426 headers, version -> 403 origin -> 401 token -> 400 subprotocol -> 400 groups, delivery -> 503 ready, room

Pure: headers and arguments in, an admission out or a refusal raised. What is asked of the token comes before what is said
about groups, so that a stranger learns nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from edge.protocol.handshake import JSON_SUBPROTOCOL, PROTOBUF_SUBPROTOCOL, Upgrade, UpgradeRefused, read_upgrade
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Delivery
from throng.domain.ids import GroupId, is_identifier
from throng.ports.tokens import TokenIdentity, TokenVerifier

_DELIVERIES = {"": Delivery.UNSPECIFIED, "inline": Delivery.INLINE, "notify": Delivery.NOTIFY}


class Refusal(Exception):
    """An upgrade is refused with an HTTP status; `outcome` is the label of the metric."""

    def __init__(self, status: int, outcome: str, code: ErrorCode, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.outcome = outcome
        self.code = code
        self.text = text
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """What the checks look at: headers that ignore case, arguments decoded, each with all its values."""

    headers: Mapping[str, str]
    arguments: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class UpgradeRules:
    """The settings that matter here. `deflate`: permessage-deflate is accepted when it is offered."""

    allowed_origins: Collection[str]
    allow_access_token_query: bool
    max_groups: int
    deflate: bool = True


@dataclass(frozen=True, slots=True)
class Admission:
    """An upgrade that is admitted: how to answer, who it is, and what the URL asks for."""

    upgrade: Upgrade
    identity: TokenIdentity
    groups: tuple[GroupId, ...]
    delivery: Delivery


def admit(request: UpgradeRequest, rules: UpgradeRules, verifier: TokenVerifier) -> Admission:
    """Runs all checks that need nothing but the request.

    Raises:
        Refusal: the first check that fails.
    """
    upgrade = _check_upgrade(request.headers, deflate=rules.deflate)
    check_origin(request.headers, rules.allowed_origins)
    identity = _check_token(request, upgrade, rules, verifier)
    _check_subprotocol(request.headers, upgrade)
    groups = _check_groups(request.arguments, rules.max_groups)
    delivery = _DELIVERIES.get(_one(request.arguments, "delivery").lower())
    if delivery is None:
        raise Refusal(400, "bad_arguments", ErrorCode.INVALID_ARGUMENT, "delivery must be inline or notify")
    return Admission(upgrade, identity, groups, delivery)


def check_origin(headers: Mapping[str, str], allowed: Collection[str]) -> None:
    """Lets programs without Origin pass, pages of allowed origins, and, when none are set, those of the edge's own host.

    Raises:
        Refusal: 403.
    """
    origin = headers.get("Origin", "").lower()
    if not origin or "*" in allowed or origin in allowed:
        return
    if not allowed and urlsplit(origin).netloc == headers.get("Host", "").lower():
        return
    raise Refusal(403, "foreign_origin", ErrorCode.PERMISSION_DENIED, "pages of this origin may not connect")


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token of the Authorization header; empty: none."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _check_upgrade(headers: Mapping[str, str], *, deflate: bool) -> Upgrade:
    try:
        return read_upgrade("GET", headers, deflate=deflate)
    except UpgradeRefused as refused:
        more = {"Sec-WebSocket-Version": "13", "Upgrade": "websocket"} if refused.status == 426 else {}
        outcome = "bad_version" if refused.status == 426 else "no_upgrade"
        raise Refusal(refused.status, outcome, ErrorCode.INVALID_ARGUMENT, str(refused), more) from None


def _check_token(request: UpgradeRequest, upgrade: Upgrade, rules: UpgradeRules, verifier: TokenVerifier) -> TokenIdentity:
    token = bearer_token(request.headers) or upgrade.token or ""
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


def _check_subprotocol(headers: Mapping[str, str], upgrade: Upgrade) -> None:
    """Without any offer JSON is spoken; but who offers something insists on an answer, and a lone bearer cannot be one."""
    if upgrade.subprotocol is None and headers.get("Sec-WebSocket-Protocol", "").strip():
        text = f"offer the subprotocol {PROTOBUF_SUBPROTOCOL} or {JSON_SUBPROTOCOL}"
        raise Refusal(400, "bad_subprotocol", ErrorCode.INVALID_ARGUMENT, text)


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
