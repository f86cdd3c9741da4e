"""The safety hook over real gRPC: verdicts, deadline, and a hook that is away."""

from __future__ import annotations

import os
import pathlib
import queue
import threading
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
from group_bench import GroupBench
from group_fakes import submission
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from group_svc.adapters.grpc_safety_hook import GrpcSafetyHook
from group_svc.metrics import GroupMetrics
from group_svc.ports import SafetyVerdict
from throng.api.safety.v1 import safety_pb2, safety_pb2_grpc
from throng.domain.errors import ErrorCode
from throng.runtime.rpc_status import from_rpc_error


class ExampleHook(safety_pb2_grpc.SafetyHookServiceServicer):
    """Blocks what says so, is slow or fails when told to."""

    def __init__(self) -> None:
        self.requests: list[safety_pb2.CheckMessageRequest] = []
        self.go_on = threading.Event()

    def CheckMessage(self, request, context):  # noqa: N802
        self.requests.append(request)
        text = request.body.text.text
        if text == "slow":
            self.go_on.wait(10)
        if text == "error":
            context.abort(grpc.StatusCode.INTERNAL, "no")
        verdict = {"bad": safety_pb2.VERDICT_BLOCKED, "odd": safety_pb2.VERDICT_UNSPECIFIED}
        return safety_pb2.CheckMessageResponse(verdict=verdict.get(text, safety_pb2.VERDICT_ALLOWED))


@pytest.fixture
def served() -> Iterator[tuple[ExampleHook, str]]:
    example = ExampleHook()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    safety_pb2_grpc.add_SafetyHookServiceServicer_to_server(example, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield example, f"127.0.0.1:{port}"
    example.go_on.set()
    server.stop(1).wait()


def ask(hook: GrpcSafetyHook, text: str) -> SafetyVerdict:
    verdicts: queue.Queue[SafetyVerdict] = queue.Queue()
    hook.ask(submission("ann", text=text), verdicts.put)
    return verdicts.get(timeout=10)


def test_verdicts_and_what_the_hook_is_told(served) -> None:
    example, address = served
    registry = CollectorRegistry()
    hook = GrpcSafetyHook(address, GroupMetrics(registry), timeout_seconds=5.0)
    assert ask(hook, "good") is SafetyVerdict.ALLOWED
    assert ask(hook, "bad") is SafetyVerdict.BLOCKED
    assert ask(hook, "odd") is SafetyVerdict.UNDECIDED
    assert ask(hook, "error") is SafetyVerdict.UNDECIDED
    assert (example.requests[0].group_id, example.requests[0].user_id) == ("g", "ann")
    assert example.requests[0].body.text.text == "good"
    counted = registry.get_sample_value("throng_group_safety_hook_verdicts_total", {"verdict": "undecided"})
    assert counted == 2
    hook.stop()
    assert ask(hook, "good") is SafetyVerdict.UNDECIDED


def test_no_answer_in_time_is_undecided(served) -> None:
    _, address = served
    hook = GrpcSafetyHook(address, GroupMetrics(CollectorRegistry()), timeout_seconds=0.2)
    assert ask(hook, "slow") is SafetyVerdict.UNDECIDED
    assert ask(hook, "good") is SafetyVerdict.ALLOWED
    hook.stop()


def test_nobody_waits_for_a_hook_that_is_away(served, monkeypatch: pytest.MonkeyPatch) -> None:
    example, address = served
    monkeypatch.setattr("group_svc.adapters.grpc_safety_hook._AWAY_SECONDS", 3600.0)
    hook = GrpcSafetyHook(address, GroupMetrics(CollectorRegistry()), timeout_seconds=5.0)
    with capture_logs() as logs:
        assert {ask(hook, "error") for _ in range(20)} == {SafetyVerdict.UNDECIDED}
        assert ask(hook, "good") is SafetyVerdict.UNDECIDED
    assert len(example.requests) == 20, "it was not asked again"
    assert [log["event"] for log in logs] == ["safety_hook_away"]
    hook._away_until = 0.0
    assert ask(hook, "good") is SafetyVerdict.ALLOWED
    hook.stop()


def send(bench: GroupBench, user: str, text: str) -> ErrorCode | None:
    """The refusal's code; None: stored."""
    try:
        bench.send(user, text)
    except grpc.RpcError as error:
        return from_rpc_error(error).code
    return None


def test_a_group_service_asks_its_hook_and_waits_for_one_user_alone_i4(served, tmp_path: pathlib.Path) -> None:
    example, address = served
    bench = GroupBench(tmp_path, safety_hook_address=address, safety_hook_timeout_seconds=5, safety_hook_policy="closed")
    try:
        bench.create("g", "ann", "bob")
        assert send(bench, "bob", "bad") is ErrorCode.BLOCKED_CONTENT
        assert send(bench, "bob", "odd") is ErrorCode.UNAVAILABLE
        waiting = threading.Thread(target=send, args=(bench, "ann", "slow"))
        waiting.start()
        while not any(request.body.text.text == "slow" for request in example.requests):
            assert waiting.is_alive()
        behind = threading.Thread(target=send, args=(bench, "ann", "behind"))
        behind.start()
        assert [send(bench, "bob", text) for text in ("one", "two")] == [None, None]
        while not any(request.body.text.text == "behind" for request in example.requests):
            assert behind.is_alive()
        example.go_on.set()
        waiting.join(10)
        behind.join(10)
        assert [message.text.text for message in bench.page().messages] == ["one", "two", "slow", "behind"]
    finally:
        bench.stop()


def test_a_group_service_reads_its_words_anew(tmp_path: pathlib.Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("bad\n", encoding="utf-8")
    bench = GroupBench(tmp_path / "data", word_list_file=words, word_list_check_seconds=0.05)
    try:
        bench.create("g", "ann")
        assert send(bench, "ann", "bad") is ErrorCode.BLOCKED_CONTENT
        fresh = tmp_path / "fresh.txt"
        fresh.write_text("worse\n", encoding="utf-8")
        os.replace(fresh, words)
        loaded = threading.Event()
        for _ in range(200):
            if bench.registry.get_sample_value("throng_group_word_list_reloads_total", {"result": "loaded"}):
                break
            loaded.wait(0.05)
        assert send(bench, "ann", "bad") is None
        assert send(bench, "ann", "worse") is ErrorCode.BLOCKED_CONTENT
    finally:
        bench.stop()
