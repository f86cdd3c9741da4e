"""Alerts and recording rules: understood by Prometheus, each fires when it should and is silent when not, each is in the runbook."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from backends import backend_missing

from throng.testing.servers.process import ServerMissing, find_program

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "helm/throng/rules"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load((RULES / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
}
EDGE = 'namespace="n",job="edge",instance="edge-1"'
GROUP = 'namespace="n",job="group",instance="group-1"'
ROUTER = 'namespace="n",job="router",instance="router-1"'
UNREAD = 'namespace="n",job="unread",instance="unread-1"'

Series = Mapping[str, str]


def histogram(name: str, labels: str, *, slow: int, of: int = 100) -> Series:
    """`of` durations a minute, `slow` of them between 1 and 5 s, the others below 0.1 s."""
    fast = of - slow
    counts = {"0.1": fast, "1.0": fast, "5.0": of, "+Inf": of}
    found = {f'{name}_bucket{{{labels},le="{bound}"}}': f"0+{count}x5000" for bound, count in counts.items()}
    return found | {f"{name}_count{{{labels}}}": f"0+{of}x5000"}


def acks(slow: int) -> Series:
    return histogram("throng_edge_submit_to_ack_seconds", EDGE, slow=slow)


def deliveries(slow: int) -> Series:
    return histogram("throng_edge_publish_to_last_send_seconds", EDGE, slow=slow)


def submissions(**outcomes: int) -> Series:
    """So many a minute, by outcome."""
    return {f'throng_edge_submissions_total{{{EDGE},outcome="{name}"}}': f"0+{count}x5000" for name, count in outcomes.items()}


def grows(name: str, labels: str, by: int) -> Series:
    return {f"{name}{{{labels}}}": f"0+{by}x5000"}


def stands(name: str, labels: str, value: float) -> Series:
    return {f"{name}{{{labels}}}": f"{value}x5000"}


def lag(unread: int, *, waiting: int = 0) -> Series:
    """Ten messages a second are stored; so many lie in the log, and were read and wait."""
    return (
        stands("throng_group_uplink_lag_records", GROUP, unread)
        | stands("throng_group_queue_depth_items", GROUP + ',queue="commit"', waiting)
        | stands("throng_group_queue_depth_items", GROUP + ',queue="observe"', 9_000)
        | grows("throng_group_submissions_total", GROUP + ',outcome="stored"', 600)
    )


def comparisons(failed: int, of: int = 30) -> Series:
    """Comparisons of heads a minute."""
    of_heads = EDGE + ',method="GetHeads"'
    return grows("throng_edge_upstream_calls_total", of_heads + ',code="UNAVAILABLE"', failed) | grows(
        "throng_edge_upstream_calls_total", of_heads + ',code="OK"', of - failed
    )


CASES: dict[str, tuple[Series, Series]] = {
    "ThrongDeliverySlow": (deliveries(20), deliveries(0)),
    "ThrongAckSlow": (acks(20), acks(0)),
    "ThrongSubmissionsRefused": (submissions(acked=90, unavailable=10), submissions(acked=99, unavailable=1, rate_limited=50)),
    "ThrongSendersHeldBack": (submissions(acked=10, rate_limited=90), submissions(acked=90, rate_limited=10)),
    "ThrongUplinkLag": (lag(500), lag(100)),
    "ThrongHeadsDiverge": (grows("throng_edge_heal_failures_total", EDGE, 1), stands("throng_edge_heal_failures_total", EDGE, 7)),
    "ThrongUnreadWindowDrift": (
        grows("throng_unread_observations_total", UNREAD + ',outcome="lost"', 60),
        grows("throng_unread_observations_total", UNREAD + ',outcome="advanced"', 60),
    ),
    "ThrongServiceDown": (
        {f"up{{{EDGE}}}": "1x10 0x4990", f"throng_edge_connections{{{EDGE}}}": "5x10 stale"},
        {f"up{{{EDGE}}}": "1x5000", f"throng_edge_connections{{{EDGE}}}": "5x5000", 'up{job="other",instance="x"}': "0x5000"},
    ),
    "ThrongEdgeLost": (
        grows("throng_router_edges_dropped_total", ROUTER + ',reason="expired"', 1),
        grows("throng_router_edges_dropped_total", ROUTER + ',reason="good_bye"', 1),
    ),
    "ThrongEdgeUnrouted": (stands("throng_edge_router_connected", EDGE, 0), stands("throng_edge_router_connected", EDGE, 1)),
    "ThrongRouterOutOfStep": (stands("throng_router_table_in_step", ROUTER, 0), stands("throng_router_table_in_step", ROUTER, 1)),
    "ThrongHubLate": (
        histogram("throng_edge_loop_delay_seconds", EDGE, slow=5),
        histogram("throng_edge_loop_delay_seconds", EDGE, slow=0),
    ),
    "ThrongEdgeFull": (
        grows("throng_edge_handshakes_total", EDGE + ',outcome="full"', 3),
        grows("throng_edge_handshakes_total", EDGE + ',outcome="accepted"', 3),
    ),
    "ThrongHandshakesHeldBack": (
        grows("throng_edge_handshakes_total", EDGE + ',outcome="too_many_handshakes"', 1_200),
        grows("throng_edge_handshakes_total", EDGE + ',outcome="too_many_handshakes"', 60),
    ),
    "ThrongNoRoom": (
        grows("throng_group_queue_overflows_total", GROUP + ',queue="publish"', 1),
        stands("throng_group_queue_overflows_total", GROUP + ',queue="publish"', 3),
    ),
    "ThrongFilesRunOut": (
        stands("process_open_fds", EDGE, 95) | stands("process_max_fds", EDGE, 100) | stands("throng_edge_connections", EDGE, 90),
        stands("process_open_fds", EDGE, 50) | stands("process_max_fds", EDGE, 100) | stands("throng_edge_connections", EDGE, 45),
    ),
    "ThrongPoisonRecords": (
        grows("throng_group_poison_records_total", GROUP, 1),
        stands("throng_group_poison_records_total", GROUP, 4),
    ),
    "ThrongSafetyHookAway": (
        grows("throng_group_safety_hook_verdicts_total", GROUP + ',verdict="undecided"', 10)
        | grows("throng_group_safety_hook_verdicts_total", GROUP + ',verdict="allowed"', 90),
        grows("throng_group_safety_hook_verdicts_total", GROUP + ',verdict="undecided"', 1)
        | grows("throng_group_safety_hook_verdicts_total", GROUP + ',verdict="allowed"', 99),
    ),
    "ThrongWordListNotReloaded": (
        grows("throng_group_word_list_reloads_total", GROUP + ',result="failed"', 1),
        stands("throng_group_word_list_reloads_total", GROUP + ',result="failed"', 2),
    ),
    "ThrongDefects": (
        grows("throng_edge_handler_failures_total", EDGE, 1) | stands("throng_edge_event_failures_total", EDGE, 0),
        stands("throng_edge_handler_failures_total", EDGE, 1) | stands("throng_edge_event_failures_total", EDGE, 0),
    ),
    "ThrongKafkaAway": (
        grows("throng_edge_kafka_producer_refused_total", EDGE + ',reason="away"', 5),
        grows("throng_edge_kafka_producer_refused_total", EDGE + ',reason="too_large"', 5),
    ),
    "ThrongMySQLAway": (
        grows("throng_group_persist_retries_total", GROUP, 1),
        stands("throng_group_persist_retries_total", GROUP, 1),
    ),
    "ThrongRedisAway": (
        grows("throng_group_redis_errors_total", GROUP + ',kind="connection"', 5)
        | stands("throng_router_redis_errors_total", ROUTER + ',kind="connection"', 0)
        | stands("throng_unread_redis_errors_total", UNREAD + ',kind="connection"', 0),
        stands("throng_group_redis_errors_total", GROUP + ',kind="connection"', 5)
        | stands("throng_router_redis_errors_total", ROUTER + ',kind="connection"', 0)
        | stands("throng_unread_redis_errors_total", UNREAD + ',kind="connection"', 0),
    ),
    "ThrongAckBudgetFast": (acks(20), acks(10)),
    "ThrongAckBudgetSlow": (acks(10), acks(4)),
    "ThrongAckBudgetTrickle": (acks(4), acks(0)),
    "ThrongDeliveryBudgetFast": (deliveries(20), deliveries(10)),
    "ThrongDeliveryBudgetSlow": (deliveries(10), deliveries(4)),
    "ThrongDeliveryBudgetTrickle": (deliveries(4), deliveries(0)),
    "ThrongAvailabilityBudgetFast": (submissions(acked=980, unavailable=20), submissions(acked=990, unavailable=10)),
    "ThrongAvailabilityBudgetSlow": (submissions(acked=990, internal=10), submissions(acked=996, internal=4)),
    "ThrongAvailabilityBudgetTrickle": (
        submissions(acked=996, deadline_exceeded=4),
        submissions(acked=9_996, deadline_exceeded=4, rate_limited=500),
    ),
}
"""Alert -> (series upon which it fires, series upon which it does not)."""

FURTHER: list[tuple[str, Series, Series]] = [
    ("ThrongSendersHeldBack", submissions(acked=10, group_busy=90), submissions(acked=90, group_busy=10)),
    ("ThrongUplinkLag", lag(0, waiting=500), lag(0, waiting=100)),
    ("ThrongHeadsDiverge", comparisons(failed=30), comparisons(failed=3)),
    (
        "ThrongUnreadWindowDrift",
        grows("throng_unread_window_rebuilds_total", UNREAD + ',reason="behind"', 120),
        grows("throng_unread_window_rebuilds_total", UNREAD + ',reason="behind"', 30),
    ),
    (
        "ThrongNoRoom",
        grows("throng_router_deliver_queue_overflows_total", ROUTER + ',action="shrunk"', 1),
        stands("throng_router_deliver_queue_overflows_total", ROUTER + ',action="shrunk"', 3),
    ),
    *(
        ("ThrongMySQLAway", grows(name, labels + ',reason="away"', 1), stands(name, labels + ',reason="away"', 1))
        for name, labels in (("throng_group_mysql_failures_total", GROUP), ("throng_unread_mysql_failures_total", UNREAD))
    ),
    *(
        ("ThrongRedisAway", grows(name, labels + ',kind="timeout"', 5), stands(name, labels + ',kind="timeout"', 5))
        for name, labels in (
            ("throng_group_redis_errors_total", GROUP),
            ("throng_router_redis_errors_total", ROUTER),
            ("throng_unread_redis_errors_total", UNREAD),
        )
    ),
]
"""The other ways in which an alert comes about, each by itself: what is not scraped at the moment must not hide the rest."""

LOOKED_AT = {"Trickle": "80h", "Slow": "7h", "Fast": "70m"}
"""When budgets are looked at: every window is full then. Other alerts: after 45 minutes, `ThrongServiceDown` shortly after the end."""


@pytest.fixture(scope="module")
def promtool() -> str:
    try:
        return find_program("promtool", backend="prometheus", package="prometheus")
    except ServerMissing as error:
        backend_missing(error.name, error.remedy)


def firing(name: str, series: Series, at: str, *, expected: bool, every: str = "1m") -> dict[str, Any]:
    """One test of promtool's; the values of the series come with that distance."""
    return {
        "interval": every,
        "input_series": [{"series": series_name, "values": values} for series_name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)',
                "eval_time": at,
                "exp_samples": [{"labels": "{}", "value": 1 if expected else 0}],
            }
        ],
    }


def judge(promtool: str, folder: pathlib.Path, interval: str, rules: list[dict[str, Any]], tests: list[dict[str, Any]]) -> None:
    (folder / "rules.yml").write_text(json.dumps({"groups": [{"name": "judged", "rules": rules}]}))
    test = {"rule_files": ["rules.yml"], "evaluation_interval": interval, "tests": tests}
    (folder / "tests.yml").write_text(json.dumps(test))
    command = [promtool, "test", "rules", str(folder / "tests.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6_000:]


def all_rules() -> list[dict[str, Any]]:
    """Every rule, recordings first."""
    files = [yaml.safe_load((RULES / name).read_text()) for name in ("recording.yaml", "alerts.yaml")]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def needed(name: str) -> list[dict[str, Any]]:
    """An alert and the recordings that it is made of: all rules over days would take minutes to work out."""
    found = [ALERTS[name]]
    for rule in reversed(all_rules()):
        if "record" in rule and any(re.search(rf"{re.escape(rule['record'])}(?![\w:])", other["expr"]) for other in found):
            found.insert(0, rule)
    return found


def test_every_alert_has_a_case() -> None:
    assert set(CASES) == set(ALERTS)


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should_and_is_silent_when_not(name: str, promtool: str, tmp_path: pathlib.Path) -> None:
    budget = next((at for end, at in LOOKED_AT.items() if name.endswith(f"Budget{end}")), None)
    at = "14m" if name == "ThrongServiceDown" else budget or "45m"
    bad, good = CASES[name]
    every = "1m" if budget in (None, "70m") else "4m"  # days of samples by the minute would take seconds to work out
    tests = [firing(name, bad, at, expected=True, every=every), firing(name, good, at, expected=False, every=every)]
    judge(promtool, tmp_path, every, needed(name), tests)


@pytest.mark.parametrize(("name", "bad", "good"), FURTHER)
def test_each_part_of_an_alert_fires_by_itself(name: str, bad: Series, good: Series, promtool: str, tmp_path: pathlib.Path) -> None:
    tests = [firing(name, bad, "45m", expected=True), firing(name, good, "45m", expected=False)]
    judge(promtool, tmp_path, "1m", needed(name), tests)


def test_nothing_fires_in_an_installation_that_is_well(promtool: str, tmp_path: pathlib.Path) -> None:
    well: dict[str, str] = {}
    for name in (
        "ThrongServiceDown",
        "ThrongAckBudgetTrickle",
        "ThrongDeliveryBudgetTrickle",
        "ThrongEdgeUnrouted",
        "ThrongUplinkLag",
    ):
        well |= CASES[name][1]
    well |= submissions(submitted=100, acked=100)
    test = firing("", well, "2h", expected=False)
    test["promql_expr_test"][0]["expr"] = "count(ALERTS) or vector(0)"
    judge(promtool, tmp_path, "1m", all_rules(), [test])


def test_every_alert_says_how_bad_it_is_and_leads_to_the_runbook() -> None:
    anchors = {
        match.lower() for match in re.findall(r"^### (Throng\w+)$", (ROOT / "docs/runbook.md").read_text(encoding="utf-8"), re.M)
    }
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), name
        assert rule["annotations"]["summary"], name
        assert rule["annotations"]["description"].endswith("."), name
        assert rule["annotations"]["runbook"] == f"runbook.md#{name.lower()}"
        assert name.lower() in anchors, f"{name} has no entry in docs/runbook.md"
    assert anchors == {name.lower() for name in ALERTS}, "the runbook tells of alerts that there are"
