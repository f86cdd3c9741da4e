"""TLS with certificates on both ends, and shared tokens, on servers and channels of both colours."""

from __future__ import annotations

import datetime
import itertools
import pathlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
import structlog.testing
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from rpc_stage import SECONDS, Stage, call_all, call_all_aio, security

from throng.api.router.v1 import router_pb2, router_pb2_grpc
from throng.domain.errors import ErrorCode, ThrongError
from throng.runtime import rpc_aio, rpc_sync
from throng.runtime.aio_thread import AioThread
from throng.runtime.rpc_security import PLAIN, RpcSecurity, load_security
from throng.runtime.rpc_status import from_rpc_error
from throng.testing import certificates
from throng.testing.certificates import CertificateAuthority, make_rpc_files, write_tls_files

ALL_PASS = ["e", [7], 1, 1]
UNAVAILABLE, UNAUTHENTICATED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED
OLD, NEW = "old-" + "0123456789abcdef" * 2, "new-" + "fedcba9876543210" * 2


@pytest.fixture(scope="module")
def ca() -> CertificateAuthority:
    return CertificateAuthority("ours")


@pytest.fixture(scope="module")
def foreign() -> CertificateAuthority:
    return CertificateAuthority("theirs")


@pytest.fixture(scope="module")
def aio() -> Iterator[AioThread]:
    thread = AioThread()
    thread.start()
    yield thread
    thread.stop()


@pytest.fixture(params=["sync", "aio"])
def stage(request: pytest.FixtureRequest, aio: AioThread) -> Iterator[Stage]:
    stage = Stage(request.param, aio)
    yield stage
    stage.stop()


def test_with_certificates_and_token_every_kind_of_call_passes(stage: Stage, ca: CertificateAuthority, aio: AioThread) -> None:
    stage.start(security(ca, tokens=(NEW,)))
    rules = security(ca, "a-client", tokens=(NEW,))
    assert call_all(stage.address, rules) == ALL_PASS
    assert aio.run(call_all_aio(stage.address, rules), SECONDS) == ALL_PASS[:2]


def test_a_client_without_a_certificate_of_the_ca_gets_nothing(
    stage: Stage, ca: CertificateAuthority, foreign: CertificateAuthority, aio: AioThread
) -> None:
    stage.start(security(ca))
    for rules in (PLAIN, RpcSecurity(tokens=(NEW,)), security(foreign, trust=ca)):
        assert call_all(stage.address, rules) == [UNAVAILABLE] * 4
        assert aio.run(call_all_aio(stage.address, rules), SECONDS) == [UNAVAILABLE] * 2
    naked = grpc.ssl_channel_credentials(ca.certificate_pem)
    with grpc.secure_channel(stage.address, naked) as channel, pytest.raises(grpc.RpcError):
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
    assert stage.handlers.calls == []


def test_a_client_speaks_to_no_server_of_another_ca_or_name(
    stage: Stage, ca: CertificateAuthority, foreign: CertificateAuthority, aio: AioThread
) -> None:
    stage.start(security(foreign, "127.0.0.1", trust=ca))
    assert call_all(stage.address, security(ca, tokens=(NEW,))) == [UNAVAILABLE] * 4
    stage.stop()
    stage.start(security(ca, "throng"))
    assert call_all(stage.address, security(ca)) == [UNAVAILABLE] * 4
    assert call_all(stage.address, security(ca, server_name="other")) == [UNAVAILABLE] * 4
    assert stage.handlers.calls == []
    assert call_all(stage.address, security(ca, server_name="throng")) == ALL_PASS
    assert aio.run(call_all_aio(stage.address, security(ca, server_name="throng")), SECONDS) == ALL_PASS[:2]


def test_one_name_serves_several_addresses(aio: AioThread, ca: CertificateAuthority) -> None:
    stages = [Stage("sync", aio).start(security(ca, "throng")) for _ in range(2)]
    addresses = [stage.address for stage in stages]
    with rpc_sync.channel(addresses, security(ca, server_name="throng")) as channel:
        stub = router_pb2_grpc.RouterServiceStub(channel)
        grpc.channel_ready_future(channel).result(SECONDS)
        deadline = threading.Event()
        while not all(stage.handlers.calls for stage in stages) and not deadline.wait(0.01):
            stub.AssignEdge(router_pb2.AssignEdgeRequest(), timeout=SECONDS)
    with pytest.raises(ThrongError, match="rpc_server_name must be set"):
        rpc_sync.channel(addresses, security(ca))
    for stage in stages:
        stage.stop()


@pytest.mark.parametrize("wrong", [(), (OLD,), (NEW[:-1],), (NEW + "x",)], ids=["none", "other", "shorter", "longer"])
def test_without_the_token_no_handler_runs(stage: Stage, aio: AioThread, wrong: tuple[str, ...]) -> None:
    stage.start(RpcSecurity(tokens=(NEW,)))
    assert call_all(stage.address, RpcSecurity(tokens=wrong)) == [UNAUTHENTICATED] * 4
    unary, stream = aio.run(call_all_aio(stage.address, RpcSecurity(tokens=wrong)), SECONDS)
    assert unary is UNAUTHENTICATED
    assert stream in (UNAUTHENTICATED, grpc.StatusCode.INTERNAL)  # grpc.aio's word for a write that meets the end of its stream
    assert stage.handlers.calls == []
    assert stage.count("UNAUTHENTICATED") == 6


def test_a_stream_that_sends_nothing_is_refused_at_once(stage: Stage) -> None:
    stage.start(RpcSecurity(tokens=(NEW,)))
    never = threading.Event()
    with grpc.insecure_channel(stage.address) as channel:
        call = router_pb2_grpc.RouterServiceStub(channel).Publish(iter(never.wait, True), timeout=SECONDS)
        with pytest.raises(grpc.RpcError) as refused:
            next(call)
        never.set()
    assert from_rpc_error(refused.value).code is ErrorCode.UNAUTHENTICATED
    assert from_rpc_error(refused.value).text == "the call brought no token, or one that is not accepted here"


def test_two_tokens_in_one_call_are_none(stage: Stage) -> None:
    stage.start(RpcSecurity(tokens=(NEW,)))
    with rpc_sync.channel([stage.address], RpcSecurity(tokens=(NEW,))) as channel:
        stub: Any = router_pb2_grpc.RouterServiceStub(channel)
        request = router_pb2.AssignEdgeRequest()
        assert stub.AssignEdge(request, timeout=SECONDS, metadata=(("x", "y"),)).edge_id == "e"
        assert stub.AssignEdge.with_call(request, timeout=SECONDS)[0].edge_id == "e"
        with pytest.raises(grpc.RpcError) as refused:
            stub.AssignEdge(request, timeout=SECONDS, metadata=(("authorization", f"Bearer {OLD}"),))
    assert refused.value.code() is UNAUTHENTICATED


def test_probes_need_no_token_but_reflection_and_watches_do(stage: Stage) -> None:
    stage.start(RpcSecurity(tokens=(NEW,)))
    with grpc.insecure_channel(stage.address) as channel:
        health, reflection = health_pb2_grpc.HealthStub(channel), reflection_pb2_grpc.ServerReflectionStub(channel)
        serving = health.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS).status
        assert serving == health_pb2.HealthCheckResponse.SERVING
        for call in (
            health.Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS),
            reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=SECONDS),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                next(call)
            assert refused.value.code() is UNAUTHENTICATED
    with rpc_sync.channel([stage.address], RpcSecurity(tokens=(NEW,))) as channel:
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        (listed,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(asked, timeout=SECONDS)
        assert "throng.router.v1.RouterService" in [one.name for one in listed.list_services_response.service]


def test_tokens_rotate_without_downtime(aio: AioThread) -> None:
    """Files [old] everywhere, then [old, new], then [new, old], then [new]: neighbours in order understand each other."""
    steps = [(OLD,), (OLD, NEW), (NEW, OLD), (NEW,)]
    for before, after in itertools.pairwise(steps):
        for server, client in ((before, after), (after, before)):
            stage = Stage("sync", aio).start(RpcSecurity(tokens=server))
            assert call_all(stage.address, RpcSecurity(tokens=client)) == ALL_PASS
            stage.stop()


def test_a_refused_call_is_logged_and_a_flood_of_them_is_not(stage: Stage) -> None:
    with structlog.testing.capture_logs() as logs:
        stage.start(RpcSecurity(tokens=(NEW,)))
        call_all(stage.address, RpcSecurity(tokens=(OLD,)))
    told = [log for log in logs if log["event"] == "rpc_unauthenticated"]
    assert len(told) == 1
    assert told[0]["method"].endswith("AssignEdge")
    assert OLD not in str(logs)
    assert NEW not in str(logs)


# Files --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: pathlib.Path, ca: CertificateAuthority) -> dict[str, pathlib.Path]:
    made = write_tls_files(tmp_path, "own", ca, ca.issue("throng"))
    token = tmp_path / "token"
    certificates.write_private(token, f"{NEW}\n\n{OLD}\n".encode())
    return {"ca_file": made.ca_file, "cert_file": made.cert_file, "key_file": made.key_file, "token_file": token}


def test_files_are_read_and_nothing_shows_them(files: dict[str, pathlib.Path], ca: CertificateAuthority) -> None:
    with structlog.testing.capture_logs() as logs:
        rules = load_security(**files, server_name="throng")
    assert rules.tokens == (NEW, OLD)
    assert rules.tls
    assert logs == []
    for secret in (NEW, OLD, "PRIVATE KEY", rules.key_pem.decode()[40:80]):
        assert secret not in repr(rules)
        assert secret not in str(rules)


def refusal(**files: Any) -> str:
    with pytest.raises(ThrongError) as refused:
        load_security(**files)
    assert refused.value.code is ErrorCode.INVALID_ARGUMENT
    assert refused.value.__cause__ is None or isinstance(refused.value.__cause__, OSError)
    return refused.value.text


def overwrite(path: pathlib.Path, content: bytes | str) -> None:
    certificates.write_private(path, content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("ca_file", "SECRETSECRET", "does not hold a certificate in PEM"),
        ("cert_file", "SECRETSECRET", "does not hold a certificate in PEM"),
        ("key_file", "SECRETSECRET", "does not hold a private key in PEM without passphrase"),
        ("key_file", "", "is empty"),
        ("token_file", " \n\n", "is empty"),
        ("token_file", "SECRETSECRET", "must be 32 to 1024 printable ASCII characters"),
        ("token_file", "SECRET SECRET" * 10, "must be 32 to 1024 printable ASCII characters"),
        ("token_file", "SECRETSECRET" * 100, "must be 32 to 1024 printable ASCII characters"),
        ("token_file", "\n".join(["SECRETSECRET" * 4] * 9), "holds more than 8 tokens"),
        ("token_file", b"\xff\xfe" * 40, "is no UTF-8 text"),
        ("token_file", "S" * 70_000, "has more than 65536 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_in_one_sentence(
    files: dict[str, pathlib.Path], name: str, content: bytes | str, sentence: str
) -> None:
    overwrite(files[name], content)
    text = refusal(**files)
    assert sentence in text
    assert str(files[name]) in text
    assert "SECRET" not in text


def test_a_missing_file_is_named(files: dict[str, pathlib.Path]) -> None:
    for name in files:
        gone = {**files, name: files[name].with_suffix(".gone")}
        assert "cannot be read: No such file" in refusal(**gone)
    assert "must be set together" in refusal(**{**files, "key_file": None})


def test_a_foreign_key_and_an_expired_certificate_are_refused(
    files: dict[str, pathlib.Path], ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = files["cert_file"].read_bytes()
    overwrite(files["cert_file"], ca.issue("throng").certificate_pem)
    assert "does not belong to the certificate" in refusal(**files)
    overwrite(files["cert_file"], own)
    old = CertificateAuthority(life_days=1)
    issued = old.issue("throng")
    overwrite(files["cert_file"], issued.certificate_pem)
    overwrite(files["key_file"], issued.key_pem)
    with structlog.testing.capture_logs() as logs:
        load_security(**files)
    assert [log["event"] for log in logs] == ["rpc_certificate_expires"]
    monkeypatch.setattr("throng.runtime.rpc_security.datetime", _Shifted(days=2))
    assert "has expired" in refusal(**files)
    monkeypatch.setattr("throng.runtime.rpc_security.datetime", _Shifted(days=-2))
    assert "is not valid yet" in refusal(**files)


class _Shifted:
    """The module `datetime` with another today."""

    UTC, timedelta = datetime.UTC, datetime.timedelta

    def __init__(self, *, days: int) -> None:
        self.datetime = self
        self._days = days

    def now(self, zone: datetime.tzinfo) -> datetime.datetime:
        return datetime.datetime.now(zone) + datetime.timedelta(days=self._days)


def test_open_permissions_and_tokens_in_the_clear_are_warned_of(files: dict[str, pathlib.Path]) -> None:
    files["token_file"].chmod(0o644)
    with structlog.testing.capture_logs() as logs:
        rules = load_security(ca_file=None, cert_file=None, key_file=None, token_file=files["token_file"])
    assert rules.tokens
    assert not rules.tls
    assert [log["event"] for log in logs] == ["secret_file_open", "rpc_token_without_tls"]
    assert all(log["file"] == str(files["token_file"]) and NEW not in str(log) for log in logs)


def test_files_of_a_whole_cluster_fit_together(tmp_path: pathlib.Path, aio: AioThread) -> None:
    settings = make_rpc_files(tmp_path / "secrets")
    rules = {name: _loaded(values) for name, values in settings.items()}
    stage = Stage("sync", aio).start(rules["group"])
    try:
        for name in rules:
            assert call_all(stage.address, rules[name]) == ALL_PASS
    finally:
        stage.stop()
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "secrets").glob("*.key"))
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0


def _loaded(values: dict[str, str]) -> RpcSecurity:
    files: dict[str, Any] = {
        name.removeprefix("rpc_"): pathlib.Path(value) for name, value in values.items() if name.endswith("_file")
    }
    return load_security(**files, server_name=values["rpc_server_name"])


@pytest.mark.parametrize("make", [rpc_sync.channel, rpc_aio.channel], ids=["sync", "aio"])
def test_a_channel_does_not_show_its_token(make: Callable[..., Any], aio: AioThread) -> None:
    async def shown() -> str:
        channel = make(["127.0.0.1:1"], RpcSecurity(tokens=(NEW,)))
        stub: Any = router_pb2_grpc.RouterServiceStub(channel)
        text = f"{channel!r} {channel} {stub.AssignEdge!r}"
        closing = channel.close()
        if closing is not None:
            await closing
        return text

    assert NEW not in aio.run(shown(), SECONDS)
