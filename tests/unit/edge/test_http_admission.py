"""The door: one order of checks, one code per refusal."""

from __future__ import annotations

import pytest
from tornado.httputil import HTTPHeaders

from edge.http.admission import Admission, Refusal, UpgradeRequest, UpgradeRules, admit
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Delivery
from throng.domain.ids import UserId
from throng.ports.tokens import TokenIdentity

RULES = UpgradeRules(allowed_origins=(), allow_access_token_query=False, max_groups=3)
GOOD = {
    "Host": "chat.example.org:8080",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "throng.v1.protobuf",
    "Authorization": "Bearer good",
}


class OneTokenVerifier:
    """Believes the token `good` alone."""

    def verify(self, token: str) -> TokenIdentity:
        if token == "good":
            return TokenIdentity(UserId("alice"), "Alice", 1)
        text = "the token has expired" if token == "old" else "the token is not valid"
        raise ThrongError(ErrorCode.UNAUTHENTICATED, text)


def run(headers: dict[str, str | None] | None = None, *, rules: UpgradeRules = RULES, **arguments: str | list[str]) -> Admission:
    merged = {name: value for name, value in (GOOD | (headers or {})).items() if value is not None}
    given = {name: value if isinstance(value, list) else [value] for name, value in arguments.items()}
    return admit(UpgradeRequest(HTTPHeaders(merged), given), rules, OneTokenVerifier())


def refuse(headers: dict[str, str | None] | None = None, **more: object) -> Refusal:
    with pytest.raises(Refusal) as caught:
        run(headers, **more)  # type: ignore[arg-type]
    return caught.value


def test_a_good_request_is_admitted() -> None:
    admission = run(groups="g1,g2", delivery="notify")
    assert admission.upgrade.binary
    assert admission.upgrade.accept == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert admission.identity.user_id == "alice"
    assert admission.groups == ("g1", "g2")
    assert admission.delivery is Delivery.NOTIFY


def test_what_is_not_said_has_its_default() -> None:
    admission = run()
    assert admission.groups == ()
    assert admission.delivery is Delivery.UNSPECIFIED


@pytest.mark.parametrize(
    ("headers", "status", "outcome"),
    [
        ({"Upgrade": None}, 400, "no_upgrade"),
        ({"Upgrade": "h2c"}, 400, "no_upgrade"),
        ({"Connection": "keep-alive"}, 400, "no_upgrade"),
        ({"Sec-WebSocket-Version": "8"}, 426, "bad_version"),
        ({"Sec-WebSocket-Version": None}, 426, "bad_version"),
        ({"Sec-WebSocket-Key": None}, 400, "no_upgrade"),
        ({"Sec-WebSocket-Key": "c2hvcnQ="}, 400, "no_upgrade"),
        ({"Origin": "https://evil.example"}, 403, "foreign_origin"),
        ({"Origin": "null"}, 403, "foreign_origin"),
        ({"Authorization": None}, 401, "no_token"),
        ({"Authorization": "Basic good"}, 401, "no_token"),
        ({"Authorization": "Bearer bad"}, 401, "token_invalid"),
        ({"Authorization": "Bearer old"}, 401, "token_expired"),
        ({"Sec-WebSocket-Protocol": "chat"}, 400, "bad_subprotocol"),
        ({"Authorization": None, "Sec-WebSocket-Protocol": "bearer.good"}, 400, "bad_subprotocol"),
    ],
)
def test_refusals_have_their_codes(headers: dict[str, str | None], status: int, outcome: str) -> None:
    refusal = refuse(headers)
    assert (refusal.status, refusal.outcome) == (status, outcome)
    assert refusal.text


def test_another_version_is_told_ours() -> None:
    assert refuse({"Sec-WebSocket-Version": "8"}).headers["Sec-WebSocket-Version"] == "13"


def test_the_order_of_checks_tells_strangers_nothing() -> None:
    """Each request breaks everything from one check on; the first check answers."""
    broken: dict[str, str | None] = {"Sec-WebSocket-Protocol": "chat"}
    assert refuse(broken, groups="!", delivery="x").outcome == "bad_subprotocol"
    broken |= {"Authorization": None}
    assert refuse(broken, groups="!").outcome == "no_token"
    broken |= {"Origin": "https://evil.example"}
    assert refuse(broken, groups="!").outcome == "foreign_origin"
    broken |= {"Sec-WebSocket-Version": "8"}
    assert refuse(broken, groups="!").outcome == "bad_version"


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        ((), "http://chat.example.org:8080"),
        ((), "https://CHAT.example.org:8080"),
        (("https://app.example",), "https://app.example"),
        (("*",), "https://anything.example"),
        (("*",), "null"),
    ],
)
def test_allowed_origins_pass(allowed: tuple[str, ...], origin: str) -> None:
    run({"Origin": origin}, rules=UpgradeRules(allowed, allow_access_token_query=False, max_groups=3))


def test_a_list_of_origins_leaves_out_the_own_host() -> None:
    rules = UpgradeRules(("https://app.example",), allow_access_token_query=False, max_groups=3)
    assert refuse({"Origin": "http://chat.example.org:8080"}, rules=rules).status == 403


def test_a_browser_hides_its_token_in_a_subprotocol() -> None:
    admission = run({"Authorization": None, "Sec-WebSocket-Protocol": "throng.v1.json, bearer.good"})
    assert not admission.upgrade.binary
    assert admission.upgrade.subprotocol == "throng.v1.json"


def test_without_an_offer_json_is_spoken() -> None:
    admission = run({"Sec-WebSocket-Protocol": None})
    assert admission.upgrade.subprotocol is None
    assert not admission.upgrade.binary


def test_the_token_in_the_url_needs_permission() -> None:
    assert refuse({"Authorization": None}, access_token="good").outcome == "no_token"
    rules = UpgradeRules((), allow_access_token_query=True, max_groups=3)
    assert run({"Authorization": None}, rules=rules, access_token="good").identity.user_id == "alice"


@pytest.mark.parametrize(
    ("groups", "code"),
    [("a b", ErrorCode.INVALID_ARGUMENT), ("g" * 65, ErrorCode.INVALID_ARGUMENT), ("a,b,c,d", ErrorCode.LIMIT_EXCEEDED)],
)
def test_bad_groups_are_refused(groups: str, code: ErrorCode) -> None:
    refusal = refuse(groups=groups)
    assert (refusal.status, refusal.code) == (400, code)


def test_repeated_groups_count_once() -> None:
    assert run(groups=["a,b,a", "b"]).groups == ("a", "b")


def test_an_unknown_delivery_is_refused() -> None:
    assert refuse(delivery="both").status == 400


def test_compression_is_negotiated_unless_it_is_switched_off() -> None:
    offer: dict[str, str | None] = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
    assert run(offer).upgrade.deflate
    assert not run().upgrade.deflate
    assert not run(offer, rules=UpgradeRules((), allow_access_token_query=False, max_groups=3, deflate=False)).upgrade.deflate
