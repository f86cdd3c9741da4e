"""The limits and habits of a group as options of the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from throng.api.common.v1 import group_pb2

_POLICIES = {"reject": group_pb2.OVER_BUDGET_REJECT, "sample": group_pb2.OVER_BUDGET_SAMPLE}
_DELIVERIES = {"inline": group_pb2.DELIVERY_INLINE, "notify": group_pb2.DELIVERY_NOTIFY}
_OPTIONS = (
    click.option(
        "--send-interval-ms",
        type=int,
        help="Least time between two messages of one user; long: slow mode; 0: no limit.  [new: 1000]",
    ),
    click.option("--budget-per-second", type=int, help="Messages per second the group accepts in all; 0: no limit.  [new: 20]"),
    click.option(
        "--over-budget",
        type=click.Choice(list(_POLICIES)),
        help="Over the budget: who comes first is let in, or a random share.  [new: reject]",
    ),
    click.option("--block-max-messages", type=int, help="Push a block at this many messages; 0: no waiting.  [new: 10]"),
    click.option("--block-interval-ms", type=int, help="Push a block when it is this old; 0: no waiting.  [new: 1000]"),
    click.option(
        "--delivery", type=click.Choice(list(_DELIVERIES)), help="For clients that ask for none: blocks, or heads.  [new: inline]"
    ),
)


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a command with one option per limit; it gets them by the names of the settings, None where not given."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def settings_of(limits: Mapping[str, Any]) -> group_pb2.GroupSettings:
    """The settings that were given.

    Raises:
        click.BadParameter: a number is negative.
    """
    given = {field: value for field, value in limits.items() if value is not None}
    for field, names in (("over_budget", _POLICIES), ("delivery", _DELIVERIES)):
        if field in given:
            given[field] = names[given[field]]
    negative = next((field for field, value in given.items() if value < 0), None)
    if negative:
        raise click.BadParameter("must not be negative", param_hint=f"--{negative.replace('_', '-')}")
    return group_pb2.GroupSettings(**given)


def budget_text(settings: group_pb2.GroupSettings) -> str:
    """The budget for people."""
    if not settings.budget_per_second:
        return "no limit"
    above = "a random share is let in" if settings.over_budget == group_pb2.OVER_BUDGET_SAMPLE else "who comes first is let in"
    return f"{settings.budget_per_second} messages/s, above it {above}"
