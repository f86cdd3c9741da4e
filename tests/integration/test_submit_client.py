"""The load client of `bench_persist.py` against a server that lies in one way per group: it must say exactly what was wrong."""

from __future__ import annotations

import base64
import importlib
import json
import pathlib
import subprocess
from types import ModuleType
from typing import Any

import pytest
from c_clients import compiled
from lying_throng import LIE_AT, LyingThrong

from throng.bench import BenchPlan, Verdict

_SOURCE = pathlib.Path(__file__).parents[1] / "load" / "submit_client.c"
_MESSAGES = 10

LIES: dict[str, tuple[int, dict[str, int]]] = {
    "honest": (2, {}),
    "lost-tail": (2, {"missing": 2 * (_MESSAGES - LIE_AT + 1), "disconnected": 2}),
    "twice-stored": (2, {"contradicted": 2}),
    "twice-delivered": (2, {"duplicated": 2}),
    "swapped": (2, {"misordered": 4, "duplicated": 2}),
    "foreign": (2, {"foreign": 2}),
    "ack-only": (2, {"contradicted": 3}),
    "no-ack": (2, {"unanswered": 1, "disconnected": 2}),
    "two-contents": (2, {"altered": 1, "duplicated": 1}),
    "other-ack": (2, {"answered_twice": 1}),
    "reject-then-ack": (2, {"answered_twice": 1, "refused_yet_stored": 1}),
    "other-request": (2, {"foreign": 1, "unanswered": 1, "disconnected": 2}),
    "other-epoch": (2, {"other_epoch": 1}),
    "hole": (2, {"gaps": 2, "missing": 2, "disconnected": 2}),
    "session": (1, {"overtaken": 1}),
    "no-time": (2, {}),
}
"""By group, which names the lie: connections, and the faults that the client must find."""

_NEVER_SETTLED = ("lost-tail", "no-ack", "hole", "other-request")
"""There the server says goodbye in the end, so that nobody waits for what does not come."""


def _token(user_id: str) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"sub": user_id}).encode()).decode().rstrip("=")
    return f"e30.{claims}.e30"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The compiled client."""
    return compiled(_SOURCE, tmp_path_factory.mktemp("client"))


def _start(client: pathlib.Path, throng: LyingThrong, file: pathlib.Path, *more: str) -> subprocess.Popen[str]:
    edges = throng.url.removeprefix("ws://")
    fixed = ["--edges", edges, "--connections", str(file), "--rate", "200", "--seconds", str(_MESSAGES / 200), "--settle", "30"]
    return subprocess.Popen([client, *fixed, *more], stdout=subprocess.PIPE, text=True)


def _ended(running: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    output, _ = running.communicate(timeout=60)
    sending, sent, document = output.splitlines()
    assert (sending, sent) == ("sending", "sent")
    return running.returncode, json.loads(document)


@pytest.fixture(scope="module")
def reports(client: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, dict[str, Any]]]:
    """Exit code and report of a client per lie, all at the same time."""
    folder = tmp_path_factory.mktemp("connections")
    running = {}
    with LyingThrong() as throng:
        throng.goodbyes = dict.fromkeys(_NEVER_SETTLED, _MESSAGES)
        for group_id, (connections, _) in LIES.items():
            file = folder / group_id
            file.write_text("".join(f"{_token(f'user{number}')} {group_id}\n" for number in range(connections)))
            running[group_id] = _start(client, throng, file)
        file = folder / "heads"
        file.write_text("".join(f"{_token(f'user{number}')} group{number % 2} {number}\n" for number in range(4)))
        running["heads alone"] = _start(client, throng, file, "--delivery", "notify", "--bytes", "4000", "--seed", "7")
        return {group_id: _ended(one) for group_id, one in running.items()}


@pytest.mark.parametrize("lie", LIES)
def test_it_says_exactly_what_a_server_did(reports: dict[str, tuple[int, dict[str, Any]]], lie: str) -> None:
    connections, expected = LIES[lie]
    code, report = reports[lie]
    assert {name: count for name, count in report["faults"].items() if count} == expected
    assert code == (1 if expected else 0)
    assert (report["connections"], report["submitted"]) == (connections, _MESSAGES)


def test_it_counts_answers_and_deliveries(reports: dict[str, tuple[int, dict[str, Any]]]) -> None:
    _, honest = reports["honest"]
    assert (honest["acked"], honest["deliveries"], honest["rejected"]) == (_MESSAGES, 2 * _MESSAGES, {})
    assert 0 < honest["ack_p50_ms"] <= honest["ack_p90_ms"] <= honest["ack_p99_ms"] <= honest["ack_max_ms"]
    assert 0 < honest["last_p50_ms"] <= honest["last_p99_ms"] <= honest["last_max_ms"]
    assert 0 < honest["late_p99_ms"] <= honest["late_max_ms"] <= honest["ack_max_ms"]
    refused = _MESSAGES - LIE_AT + 1
    _, busy = reports["no-time"]
    assert (busy["acked"], busy["rejected"]) == (_MESSAGES - refused, {"13": refused})


def test_heads_alone_are_enough_for_answers(reports: dict[str, tuple[int, dict[str, Any]]]) -> None:
    """Long texts, several groups and connections per edge; no block is asked for."""
    code, report = reports["heads alone"]
    assert (code, report["acked"], report["deliveries"], report["groups"]) == (0, _MESSAGES, 0, 2)
    assert report["notices"] == 2 * _MESSAGES


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What the benches call."""
    monkeypatch.syspath_prepend(str(_SOURCE.parent))
    return importlib.import_module("submit_client")


def test_a_bench_runs_it_and_compares_the_heads(client: pathlib.Path, tmp_path: pathlib.Path, module: ModuleType) -> None:
    """As `bench_persist.py` does."""
    secret = tmp_path / "secret"
    secret.write_text("0" * 64)
    with LyingThrong() as throng:
        target = {"urls": (throng.url,), "group_address": throng.group_address, "jwt_secret_file": secret}
        load = {"senders": 2, "receivers": 0, "rate": _MESSAGES / 0.1, "seconds": 0.1}
        plan = BenchPlan(**target, **load, group_ids=("twice-stored",))  # type: ignore[arg-type]
        with module.SubmitRun(plan, client, tmp_path) as running:
            running.wait_sending()
            running.wait_sent()
            found = running.wait()
    assert found.faults == {"contradicted": 2, "stored_otherwise": 1}, found.summary()
    assert (found.verdict, found.stored) == (Verdict.PRODUCT_FAULT, _MESSAGES + 1)
    assert "PRODUCT_FAULT" in found.summary()
    assert not (tmp_path / "connections").exists()


@pytest.mark.parametrize(
    ("stored", "late_ms", "verdict"),
    [
        (10, 1.0, Verdict.PASSED),
        (13, 1.0, Verdict.PASSED),
        (14, 1.0, Verdict.PRODUCT_FAULT),
        (9, 1.0, Verdict.PRODUCT_FAULT),
        (10, 251.0, Verdict.LOAD_CLIENT_SATURATED),
    ],
)
def test_what_was_refused_may_be_stored_or_not(module: ModuleType, stored: int, late_ms: float, verdict: Verdict) -> None:
    figures = {"acked": 9, "others": 1, "rejected": {"18": 3}, "faults": {"missing": 0}, "late_p99_ms": late_ms}
    assert module.Found(figures, stored).verdict is verdict


def test_a_load_is_sent_to_this_machine_alone(client: pathlib.Path, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "connections"
    file.write_text("token group\n")
    done = subprocess.run(
        [client, "--edges", "192.0.2.1:80", "--connections", file, "--rate", "1", "--seconds", "1"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "192.0.2.1 is not this machine" in done.stderr
