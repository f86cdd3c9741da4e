"""`throng plan`: what a crowd needs."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import click

from throng.cli.refusal import refusals
from throng.sizing import Assumptions, Crowd, Delivery, size
from throng.sizing.bench_reports import costs_of
from throng.sizing.self_test import self_test

_TEXTS = {
    "members": "Members online at once, up to ten million.",
    "rate": "Messages per second that the group takes.",
    "offered_rate": "Messages per second submitted, those refused included; 0: as many as are taken.",
    "block_max": "A block is pushed at this many messages …",
    "block_interval_ms": "… or when it is this old.",
    "text_bytes": "Mean size of a text, UTF-8.",
    "reading_share": "Part of the members who look at the page.",
    "slow_share": "Part of the members for whom frames wait at any moment.",
    "utilisation": "Part of each core and network card that may be used.",
    "spare_edges": "Edges that may be lost while the others stay within that.",
    "connections_per_edge": "Most clients of an edge process.",
    "handshakes_per_second": "An edge's budget for upgrades.",
    "cores_per_machine": "Cores of a machine.",
    "gigabits_per_machine": "Its network.",
    "history_days": "How long messages are kept.",
    "kafka_hours": "How long Kafka keeps the log.",
    "kafka_replicas": "How often Kafka keeps it.",
}


def _crowd(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, text in reversed(_TEXTS.items()):
        field = Crowd.__dataclass_fields__[name]
        flag, kind = f"--{name.replace('_', '-')}", float if field.type == "float" else int
        if name in ("members", "rate"):
            command = click.option(flag, name, type=kind, required=True, help=text)(command)
        else:
            command = click.option(flag, name, type=kind, default=field.default, show_default=True, help=text)(command)
    return command


@click.command()
@_crowd
@click.option(
    "--delivery",
    type=click.Choice([delivery.value for delivery in Delivery]),
    default="inline",
    show_default=True,
    help="How members are told.",
)
@click.option(
    "--measured",
    "reports",
    type=click.Path(path_type=pathlib.Path, dir_okay=False, exists=True),
    multiple=True,
    help="Take costs from this report of `throng bench`; may be given again.",
)
@click.option("--measure", is_flag=True, help="Measure first what a send costs on this machine (three seconds).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(reports: tuple[pathlib.Path, ...], delivery: str, *, measure: bool, as_json: bool, **options: Any) -> None:
    """Reckon what a crowd needs: edges, cores, memory, network, Kafka, MySQL, Redis.

    \b
    throng plan --members 1000000 --rate 20
    throng plan --members 10000000 --rate 50 --block-max 20 --measure

    Every assumption is printed with its source, and every figure with its formula. See docs/plan.md.
    """
    with refusals():
        crowd = Crowd(**options, delivery=Delivery(delivery))
        crowd.check()
        known = Assumptions()
        if measure:
            known = known.with_measured(self_test())
        for report in reports:
            known = known.with_measured(costs_of(report))
        found = size(crowd, known)
    click.echo(found.to_json() if as_json else found.text(), nl=not as_json)
