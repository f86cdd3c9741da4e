"""Scenarios: named loads, each with its options, what is done to clients meanwhile, and demands of its own (`demands.py`)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any


class Scenario(enum.StrEnum):
    """What a run is about. Whatever it is, every receiver and every answer is judged alike."""

    DELIVERY = "delivery"
    IDLE = "idle"
    FAN_OUT = "fan-out"
    STORM_SEND = "storm-send"
    STORM_PULL = "storm-pull"
    STORM_RECONNECT = "storm-reconnect"
    CHURN = "churn"
    SLOW_READERS = "slow-readers"
    SOAK = "soak"


@dataclass(frozen=True, slots=True)
class Preset:
    """`summary` in one sentence, and the options of a plan that differ from its defaults."""

    summary: str
    options: dict[str, Any]


PRESETS = {
    Scenario.DELIVERY: Preset("A plain load: messages at a rate, all of them to all receivers.", {}),
    Scenario.IDLE: Preset(
        "Many connections and no message: none may be lost, heartbeats come, and what they cost is told.",
        {"receivers": 1_000, "senders": 0, "rate": 0.0, "seconds": 70.0},
    ),
    Scenario.FAN_OUT: Preset(
        "One group with few senders and many receivers: how long until the last one has it.",
        {"receivers": 2_000, "senders": 4, "rate": 10.0, "seconds": 20.0},
    ),
    Scenario.STORM_SEND: Preset(
        "What is offered grows to 100 times the group's budget: ACKs stay level, and every refusal says when to come back.",
        {
            "receivers": 100,
            "senders": 200,
            "rate": 20.0,
            "seconds": 30.0,
            "rate_steps": (1.0, 10.0, 100.0),
            "budget_per_second": 20,
            "max_attempts": 1,
        },
    ),
    Scenario.STORM_PULL: Preset(
        "All receivers are only told of a new head, and all pull at once.",
        {"receivers": 2_000, "senders": 4, "rate": 5.0, "seconds": 20.0, "delivery": "notify", "workers": 2},
    ),
    Scenario.STORM_RECONNECT: Preset(
        "All sockets are cut at once while messages flow: how long until everybody is back and lacks nothing.",
        {"receivers": 2_000, "senders": 10, "rate": 20.0, "seconds": 45.0, "cut_share": 1.0, "settle_seconds": 60.0},
    ),
    Scenario.CHURN: Preset(
        "Receivers leave and come back at a rate while messages flow: nobody misses anything.",
        {"receivers": 1_000, "senders": 10, "rate": 20.0, "seconds": 30.0, "churn_per_second": 50.0},
    ),
    Scenario.SLOW_READERS: Preset(
        "A tenth of the receivers stops reading for a while: the others are not held up, and the slow ones catch up.",
        {
            "receivers": 200,
            "senders": 10,
            "rate": 100.0,
            "seconds": 40.0,
            "text_bytes": 4_000,
            "slow_share": 0.1,
            "stall_seconds": 12.0,
        },
    ),
    Scenario.SOAK: Preset(
        "All of it mixed for long: coming and going, cuts and slow readers every minute; memory and latency must not creep up.",
        {
            "receivers": 500,
            "senders": 20,
            "groups": 5,
            "rate": 50.0,
            "seconds": 600.0,
            "churn_per_second": 5.0,
            "cut_share": 0.2,
            "slow_share": 0.05,
            "stall_seconds": 10.0,
            "repeat_seconds": 60.0,
            "settle_seconds": 60.0,
        },
    ),
}
