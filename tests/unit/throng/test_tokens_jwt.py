"""Tokens: who may be believed, who may not, and that no key ever shows."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import pathlib

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from throng.adapters.jwt_tokens import (
    JwtTokenVerifier,
    TokenIssuer,
    TokenKeyError,
    load_private_key,
    load_public_key,
    load_secret,
    secret_key,
)
from throng.domain.errors import ErrorCode, ThrongError
from throng.testing.fake_clock import FakeClock

SECRET = b"0123456789abcdef0123456789abcdef-test"
CLOCK = FakeClock()
NOW = CLOCK.now_ms() // 1000


def forge(claims: dict[str, object], *, key: bytes = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, key, algorithm=algorithm)


def warm_verifier() -> JwtTokenVerifier:
    """One that has accepted a token already, and so reads others with the same header without PyJWT."""
    verifier = JwtTokenVerifier(secret_key(SECRET), clock=CLOCK)
    verifier.verify(forge(good()))
    return verifier


def refused(token: str, *, verifier: JwtTokenVerifier | None = None) -> str:
    if verifier is None:  # the quick way refuses nothing that the slow one takes, and the reverse, in the same words
        assert refused(token, verifier=warm_verifier()) == refused(
            token, verifier=JwtTokenVerifier(secret_key(SECRET), clock=CLOCK)
        )
        return refused(token, verifier=warm_verifier())
    with pytest.raises(ThrongError) as caught:
        verifier.verify(token)
    assert caught.value.code is ErrorCode.UNAUTHENTICATED
    assert caught.value.__cause__ is None
    assert token == "" or token not in str(caught.value)
    return caught.value.text


def good() -> dict[str, object]:
    return {"sub": "alice", "aud": "throng", "exp": NOW + 60}


def write_keys(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path, bytes]:
    private = Ed25519PrivateKey.generate()
    private_file, public_file = folder / "private.pem", folder / "public.pem"
    private_file.write_bytes(
        private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    public_file.write_bytes(public)
    return private_file, public_file, public


def test_an_issued_token_is_believed() -> None:
    token = TokenIssuer(secret_key(SECRET), clock=CLOCK).issue("alice", ttl_seconds=60, name="小红")
    identity = JwtTokenVerifier(secret_key(SECRET), clock=CLOCK).verify(token)
    assert (identity.user_id, identity.display_name, identity.expires_at_ms) == ("alice", "小红", (NOW + 60) * 1000)


def test_tokens_with_a_known_header_are_read_without_pyjwt_and_mean_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = warm_verifier()
    claims = good() | {"name": "小红", "nbf": NOW}
    slow = JwtTokenVerifier(secret_key(SECRET), clock=CLOCK).verify(forge(claims))
    token, in_list, other_key = forge(claims), forge(good() | {"aud": ["x", "throng"]}), forge(good(), key=SECRET[::-1])
    assert verifier.verify(in_list).user_id == "alice"  # not plain: PyJWT's matter

    def fail(*_: object, **__: object) -> None:
        raise jwt.DecodeError("PyJWT was asked")

    monkeypatch.setattr(jwt, "decode", fail)
    assert verifier.verify(token) == slow
    for bad in (in_list, other_key, token[:-2], token + "=", token.replace(".", ".e30.", 1)):
        with pytest.raises(ThrongError):
            verifier.verify(bad)


def test_a_secret_file_serves_issuer_and_verifier(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "token.key"
    path.write_text("ab" * 32 + "\n")
    token = TokenIssuer.from_file(path).issue("alice", ttl_seconds=60)
    assert jwt.decode(token, b"ab" * 32, algorithms=["HS256"], audience="throng")["sub"] == "alice"


def test_eddsa_keys_issue_and_verify(tmp_path: pathlib.Path) -> None:
    private_file, public_file, _ = write_keys(tmp_path)
    token = TokenIssuer(load_private_key(private_file), clock=CLOCK).issue("alice", ttl_seconds=60)
    assert JwtTokenVerifier(load_public_key(public_file), clock=CLOCK).verify(token).user_id == "alice"


def test_a_public_key_is_never_taken_as_a_secret(tmp_path: pathlib.Path) -> None:
    """The classic confusion: a token signed by HS256 with the public key's bytes as secret."""
    _, public_file, public = write_keys(tmp_path)

    def part(value: dict[str, object]) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(good())
    signature = base64.urlsafe_b64encode(hmac.new(public, signed, hashlib.sha256).digest()).rstrip(b"=")
    verifier = JwtTokenVerifier(load_public_key(public_file), clock=CLOCK)
    assert refused((signed + b"." + signature).decode(), verifier=verifier) == "the token is not valid"


def test_no_algorithm_but_the_keys_own_is_taken() -> None:
    none = jwt.encode(good(), None, algorithm="none")
    assert refused(none) == "the token is not valid"
    assert refused(forge(good(), key=SECRET * 2, algorithm="HS512")) == "the token is not valid"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"exp": NOW - 5}, "the token has expired"),
        ({"nbf": NOW + 6}, "the token is not valid yet"),
        ({"aud": "other"}, "the token is not valid: it is meant for another audience"),
        ({"exp": None}, "the token is not valid: the claim exp is missing"),
        ({"aud": None}, "the token is not valid: the claim aud is missing"),
        ({"sub": None}, "the token is not valid: the claim sub is missing"),
        ({"exp": "soon"}, "the token is not valid"),
        ({"exp": True}, "the token is not valid: its times are not numbers"),
        ({"exp": 1e300}, "the token is not valid: its times are not numbers"),
        ({"sub": "not a user"}, "the token is not valid: the claim sub is not a user_id"),
        ({"sub": "a" * 65}, "the token is not valid: the claim sub is not a user_id"),
    ],
)
def test_wrong_claims_are_named(change: dict[str, object], text: str) -> None:
    claims = {name: value for name, value in (good() | change).items() if value is not None}
    said = refused(forge(claims))
    assert said.startswith(text)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é.é.é", "x" * 5000, ".." * 10])
def test_rubbish_is_refused(token: str) -> None:
    assert refused(token).startswith("the token is not valid")


def test_another_key_is_refused() -> None:
    assert refused(forge(good(), key=b"f" * 40)) == "the token is not valid"


def test_clocks_may_differ_by_five_seconds() -> None:
    verifier = JwtTokenVerifier(secret_key(SECRET), clock=CLOCK)
    assert verifier.verify(forge(good() | {"exp": NOW - 4})).user_id == "alice"
    assert verifier.verify(forge(good() | {"nbf": NOW + 4})).user_id == "alice"


def test_a_name_that_is_no_text_is_left_out_and_a_long_one_cut() -> None:
    verifier = JwtTokenVerifier(secret_key(SECRET), clock=CLOCK)
    assert verifier.verify(forge(good() | {"name": 7})).display_name == ""
    assert len(verifier.verify(forge(good() | {"name": "n" * 500})).display_name) == 100


def test_the_issuer_refuses_what_no_edge_would_take() -> None:
    issuer = TokenIssuer(secret_key(SECRET), clock=CLOCK)
    for arguments in ({"user_id": "a b"}, {"user_id": "a", "ttl_seconds": 0}, {"user_id": "a", "name": "n" * 101}):
        with pytest.raises(ThrongError) as caught:
            issuer.issue(**({"ttl_seconds": 60} | arguments))  # type: ignore[arg-type]
        assert caught.value.code is ErrorCode.INVALID_ARGUMENT


def test_bad_key_files_are_named_in_a_sentence(tmp_path: pathlib.Path) -> None:
    private_file, public_file, _ = write_keys(tmp_path)
    short = tmp_path / "short"
    short.write_text("too short\n")
    other = tmp_path / "ec.pem"
    other.write_bytes(
        generate_private_key(SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(TokenKeyError, match="at least 32 bytes"):
        load_secret(short)
    with pytest.raises(TokenKeyError, match="cannot be read"):
        load_secret(tmp_path / "absent")
    for path in (short, private_file, other):
        with pytest.raises(TokenKeyError, match="public key in PEM"):
            load_public_key(path)
    with pytest.raises(TokenKeyError, match="private key in PEM"):
        load_private_key(public_file)
    with pytest.raises(TokenKeyError, match="cannot issue"):
        TokenIssuer(load_public_key(public_file), clock=CLOCK)


def test_no_key_shows_in_a_repr() -> None:
    key = secret_key(SECRET)
    shown = repr(key) + str(key) + repr(vars(JwtTokenVerifier(key, clock=CLOCK))) + repr(vars(TokenIssuer(key, clock=CLOCK)))
    assert SECRET.decode() not in shown
    assert "HS256" in shown
