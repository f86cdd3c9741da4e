"""Costs from reports of `throng bench` on a machine like the one that is planned for."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from throng.domain.errors import ErrorCode, ThrongError
from throng.sizing.assumptions import Assumption

_DEFAULT_MAX, _DEFAULT_INTERVAL_MS = 10, 1_000
LEAST_CPU_SECONDS = 0.5
"""Below that the CPU time of a run says nothing about a send."""


def costs_of(path: pathlib.Path) -> list[Assumption]:
    """What a report tells: memory per connection of `idle`; sends per CPU second of a load with receivers.

    Raises:
        ThrongError: INVALID_ARGUMENT: it is no report, deliveries were wrong, or it tells neither.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _wrong(f"{path} cannot be read as JSON") from error
    if not isinstance(document, dict) or document.get("schema") != "throng-bench":
        raise _wrong(f"{path} is no report of throng bench")
    if document["verdict"] not in ("PASSED", "DEMAND_NOT_MET", "LOAD_CLIENT_SATURATED"):
        raise _wrong(f"{path} ended as {document['verdict']}: nothing is planned by it")
    found = [*_memory(document, path), *_sends(document, path)]
    if not found:
        raise _wrong(f"{path} tells neither memory nor CPU: run it with --data-dir or --server-pid, and with enough receivers")
    return found


def _memory(document: dict[str, Any], path: pathlib.Path) -> list[Assumption]:
    samples, clients = document.get("samples", []), document["plan"]["receivers"] + document["plan"]["senders"]
    if document.get("scenario", {}).get("name") != "idle" or len(samples) < 2:
        return []
    each = (samples[-1]["resident_bytes"] - samples[0]["resident_bytes"]) / clients
    return (
        [Assumption("edge_bytes_per_connection", round(each), "", f"{path.name}: growth of the server with {clients:,} clients")]
        if each > 0
        else []
    )


def _sends(document: dict[str, Any], path: pathlib.Path) -> list[Assumption]:
    """Deliveries in the seconds of sending, by blocks as they are reckoned, for the CPU time of all of the server."""
    times = {event["name"]: event["at_ns"] for event in document["events"]}
    if "sending" not in times or "stopped" not in times:
        return []
    samples = [one for one in document.get("samples", []) if times["sending"] <= one["at_ns"] <= times["stopped"]]
    if len(samples) < 2:
        return []
    cpu = samples[-1]["cpu_seconds"] - samples[0]["cpu_seconds"]
    columns, origin = document["slots"]["columns"], document["origin_ns"]
    index, delivered = columns.index("index"), columns.index("delivered")
    slot_ns = document["slot_seconds"] * 1e9
    count = sum(
        row[delivered]
        for row in document["slots"]["rows"]
        if samples[0]["at_ns"] <= origin + row[index] * slot_ns <= samples[-1]["at_ns"]
    )
    sends = count / messages_per_block(document["plan"])
    if cpu < LEAST_CPU_SECONDS or not sends or document["plan"]["delivery"] != "inline":
        return []
    source = f"{path.name}: {sends:,.0f} sends, {cpu:.1f} CPU s of all services"
    return [Assumption("sends_per_cpu_second", round(sends / cpu), "", source)]


def messages_per_block(plan: dict[str, Any]) -> float:
    """As `Crowd.messages_per_block`, for one of the groups of a bench."""
    most = plan["block_max_messages"] or _DEFAULT_MAX
    interval = _DEFAULT_INTERVAL_MS if plan["block_interval_ms"] is None else plan["block_interval_ms"]
    rate = plan["rate"] / max(1, len(plan["group_ids"]) or plan["groups"])
    return float(min(most, max(1.0, rate * interval / 1_000)))


def _wrong(text: str) -> ThrongError:
    return ThrongError(ErrorCode.INVALID_ARGUMENT, text)
