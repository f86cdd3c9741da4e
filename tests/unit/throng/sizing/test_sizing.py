"""`throng plan`: figures reckoned by hand, what grows with what, what is refused, and what is read from reports."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from throng.cli.plan import plan
from throng.domain.errors import ThrongError
from throng.sizing import Assumption, Assumptions, Crowd, Delivery, Sizing, WireSizes, size
from throng.sizing.bench_reports import costs_of
from throng.sizing.crowd import MAX_MEMBERS

ROUND = Assumptions().with_measured(
    Assumption(name, value, "", "for a test")
    for name, value in {
        "sends_per_cpu_second": 100_000,
        "send_us_per_kb": 0.0,
        "handshakes_per_cpu_second": 2_500,
        "pulls_per_cpu_second": 40_000,
        "edge_bytes_per_connection": 1_000,
        "kernel_bytes_per_connection": 4_000,
        "edge_base_bytes": 100e6,
        "edge_cache_bytes": 0,
        "slow_bytes": 100_000,
        "heartbeat_seconds": 50,
        "first_wait_seconds": 1.0,
        "retry_factor": 2.0,
        "edge_us_per_message": 0,
        "refused_us": 100,
    }.items()
)
"""Costs that can be reckoned with by hand."""


def sized(**asked: Any) -> Sizing:
    return size(Crowd(**{"members": 1_000_000, "rate": 20.0, "reading_share": 0.0} | asked), ROUND)


@pytest.mark.parametrize(
    ("rate", "most", "interval_ms", "messages"),
    [(20, 10, 1_000, 10), (5, 10, 1_000, 5), (0.1, 10, 1_000, 1), (20, 1, 1_000, 1), (20, 10, 100, 2), (20, 10, 0, 1)],
)
def test_messages_per_block(rate: float, most: int, interval_ms: int, messages: float) -> None:
    crowd = Crowd(members=1, rate=rate, block_max=most, block_interval_ms=interval_ms)
    assert crowd.messages_per_block == messages
    assert crowd.blocks_per_second == rate / messages


def test_a_million_by_hand() -> None:
    """2 blocks/s to each: 2 M sends at 100,000 per core are 20 cores; 20,000 pings twice 0.4; ⌈20.4 / 0.6⌉ = 34 edges and one."""
    found = sized()
    assert found["sends"] == 2_000_000
    assert found["edge cores in use"] == pytest.approx(20.4)
    assert (found["edges by CPU"], found["edges by connections"], found["edges"]) == (34, 20, 35)
    assert found["load after the loss of one"] == pytest.approx(60.0)
    # 2,500 × (1 − 20.4/35) handshakes a second and edge.
    assert found["h while messages flow"] == pytest.approx(1_042.857, abs=0.01)
    assert found["back after all sockets were cut"] == pytest.approx(1.0 + 2 * 1_000_000 / (35 * 1_042.857), abs=0.01)
    assert found["back after the loss of one edge"] == pytest.approx(1.0 + 2 * (1_000_000 / 35) / (34 * 1_000), abs=0.01)
    # 34 edges hold the million when one is lost: 29,412 clients at 5 kB, 294 slow ones at 100 kB.
    assert found["memory of an edge"] == pytest.approx(100e6 + 29_411.8 * 5_000 + 294.1 * 100_000, rel=1e-4)


def test_bytes_by_hand() -> None:
    found = sized()
    sizes = WireSizes.of(60, 10)
    sent = 2_000_000 * (sizes.frame_bytes + 90 * math.ceil(sizes.frame_bytes / 1_448)) + 20_000 * (2 + 90)
    assert found["out"] == pytest.approx(8 * sent)
    assert found["in"] == 8 * 90 * (2_000_000 + 2 * 20_000 + 2 * 20)
    assert found["Kafka per day"] == pytest.approx(20 * sizes.submitted_bytes * 86_400 * 3)
    assert found["Kafka kept"] == pytest.approx(7 * found["Kafka per day"])
    assert found["message rows per day"] == 1_728_000
    assert found["messages kept"] == pytest.approx(365 * found["messages per day"])


def test_members_who_are_only_told_pull() -> None:
    found = sized(delivery=Delivery.NOTIFY)
    assert found["pulls"] == 2_000_000
    assert found["cores for pulls"] == 50
    assert found["frame"] < 40


def test_what_is_refused_costs_the_edges() -> None:
    assert sized(offered_rate=10_020.0)["cores for submissions"] == pytest.approx(1.0)


def test_readers_report() -> None:
    assert sized(reading_share=0.5)["read cursors"] == 100_000
    assert sized(reading_share=0.5, rate=0.1)["read cursors"] == pytest.approx(50_000)


def test_a_small_crowd_needs_one_edge_and_a_spare_one() -> None:
    found = sized(members=100, rate=1.0)
    assert found["edges"] == 2
    assert found["machines for edges"] == 1


def test_without_a_spare_one_it_is_said() -> None:
    found = sized(members=100, rate=1.0, spare_edges=0)
    assert found["edges"] == 1
    assert any("No spare edge" in warning for warning in found.warnings)
    with pytest.raises(StopIteration):
        _ = found["back after the loss of one edge"]


def test_sizes_are_those_of_the_codecs() -> None:
    one, ten = WireSizes.of(60, 1), WireSizes.of(60, 10)
    assert 60 + 36 < one.frame_bytes < 200
    assert 60 * 10 < ten.frame_bytes < 10 * one.frame_bytes
    assert one.frame_bytes > one.block_bytes
    between = WireSizes.of(60, 1.5).frame_bytes
    assert between == pytest.approx((one.frame_bytes + WireSizes.of(60, 2).frame_bytes) / 2)


CROWDS = st.builds(
    Crowd,
    members=st.integers(1, MAX_MEMBERS),
    rate=st.floats(0.01, 100.0),
    block_max=st.integers(1, 100),
    block_interval_ms=st.integers(0, 10_000),
    text_bytes=st.integers(1, 4_000),
    delivery=st.sampled_from(Delivery),
    utilisation=st.floats(0.1, 0.9),
    spare_edges=st.integers(0, 3),
)
NEEDS = ("edges", "edge cores in use", "out", "memory of all edges", "machines for edges", "members and cursors", "Redis")


@settings(max_examples=60, deadline=None)
@given(CROWDS, st.integers(1, 100))
def test_more_members_never_need_less(crowd: Crowd, times: int) -> None:
    more = dataclasses.replace(crowd, members=min(MAX_MEMBERS, crowd.members * times))
    if crowd.rate <= crowd.members * 1_000:
        small, large = size(crowd, Assumptions()), size(more, Assumptions())
        assert all(large[name] >= small[name] * 0.999 for name in NEEDS)


@settings(max_examples=60, deadline=None)
@given(CROWDS, st.floats(1.0, 50.0))
def test_more_messages_never_need_less(crowd: Crowd, times: float) -> None:
    more = dataclasses.replace(crowd, rate=crowd.rate * times)
    if more.rate <= crowd.members * 1_000:
        small, large = size(crowd, Assumptions()), size(more, Assumptions())
        assert all(
            large[name] >= small[name] * 0.999
            for name in ("deliveries", "sends", "Kafka kept", "messages kept", "edge cores in use")
        )


@settings(max_examples=60, deadline=None)
@given(CROWDS)
def test_edges_stay_within_what_was_asked(crowd: Crowd) -> None:
    if crowd.rate <= crowd.members * 1_000:
        found = size(crowd, Assumptions())
        left = found["edges"] - min(1, crowd.spare_edges)
        assert found["edge cores in use"] / left <= crowd.utilisation * 1.001
        assert crowd.members / left <= crowd.connections_per_edge
        assert all(math.isfinite(figure.value) and figure.value >= 0 for figure in found.figures)


@pytest.mark.parametrize(
    "wrong",
    [
        {"members": 0},
        {"members": MAX_MEMBERS + 1},
        {"rate": 0.0},
        {"rate": math.nan},
        {"offered_rate": 10.0},
        {"utilisation": 1.0},
        {"block_max": 0},
        {"members": 1, "rate": 5_000.0},
        {"kafka_replicas": 0},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ThrongError):
        sized(**wrong)


def test_an_unknown_cost_is_refused() -> None:
    with pytest.raises(KeyError):
        Assumptions().with_measured([Assumption("no such cost", 1.0, "", "")])


# Reports ----------------------------------------------------------------------------------------------------------------------------


def report(tmp_path: pathlib.Path, **changes: Any) -> pathlib.Path:
    """Of 10 s in which 1,000 receivers got 20 messages a second, for 2 CPU seconds."""
    second = 1_000_000_000
    document: dict[str, Any] = {
        "schema": "throng-bench",
        "verdict": "PASSED",
        "plan": {
            "receivers": 1_000,
            "senders": 0,
            "rate": 20.0,
            "delivery": "inline",
            "groups": 1,
            "group_ids": [],
            "block_max_messages": None,
            "block_interval_ms": None,
        },
        "scenario": {"name": "fan-out"},
        "events": [{"name": "sending", "at_ns": 0}, {"name": "stopped", "at_ns": 10 * second}],
        "samples": [
            {"at_ns": number * 10 * second, "cpu_seconds": 1.0 + 2.0 * number, "resident_bytes": 10**8 + number * 4 * 10**6}
            for number in (0, 1)
        ],
        "origin_ns": 0,
        "slot_seconds": 0.1,
        "slots": {"columns": ["index", "delivered"], "rows": [[index, 2_000] for index in range(100)]},
    }
    path = tmp_path / "report.json"
    path.write_text(json.dumps(document | changes))
    return path


def test_a_report_tells_what_a_send_costs(tmp_path: pathlib.Path) -> None:
    (cost,) = costs_of(report(tmp_path))
    assert (cost.name, cost.value) == ("sends_per_cpu_second", 10_000)  # 200,000 deliveries in blocks of 10, 2 CPU s
    assert "report.json" in cost.source


def test_a_report_of_idle_tells_what_a_connection_costs(tmp_path: pathlib.Path) -> None:
    costs = costs_of(report(tmp_path, scenario={"name": "idle"}, slots={"columns": ["index", "delivered"], "rows": []}))
    assert [(cost.name, cost.value) for cost in costs] == [("edge_bytes_per_connection", 4_000)]


@pytest.mark.parametrize("changes", [{"schema": "other"}, {"verdict": "PRODUCT_FAULT"}, {"samples": []}])
def test_reports_that_tell_nothing_are_refused(tmp_path: pathlib.Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ThrongError):
        costs_of(report(tmp_path, **changes))


# The command ------------------------------------------------------------------------------------------------------------------------


def test_the_command_prints_figures_and_every_assumption() -> None:
    result = CliRunner().invoke(plan, ["--members", "10000000", "--rate", "50", "--block-max", "20"])
    assert result.exit_code == 0, result.output
    assert all(f"  {one.name} " in result.output for one in Assumptions().all())
    assert "not measured" in result.output
    assert "arithmetic" in result.output


def test_the_command_prints_json(tmp_path: pathlib.Path) -> None:
    result = CliRunner().invoke(plan, ["--members", "1000", "--rate", "20", "--json", "--measured", str(report(tmp_path))])
    document = json.loads(result.output)
    assert (document["schema"], document["version"]) == ("throng-plan", 1)
    costs = {one["name"]: one for one in document["assumptions"]}
    assert costs["sends_per_cpu_second"]["value"] == 10_000
    assert costs["sends_per_cpu_second"]["source"].startswith("report.json")


def test_the_command_refuses_nonsense() -> None:
    result = CliRunner().invoke(plan, ["--members", "20000000", "--rate", "20"])
    assert result.exit_code == 2
    assert "Members must be 1 to 10,000,000" in result.output
