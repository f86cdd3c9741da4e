"""`throng bench`: load on a running Throng, judged."""

from __future__ import annotations

import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from throng.bench import BenchPlan, BenchReport, BenchRun, DeliveryMode, EndedEarlyError, Scenario, Verdict
from throng.bench.plot import to_svg
from throng.bench.scenarios import PRESETS
from throng.cli.data_folder import DataFolder
from throng.cli.interrupts import Interrupts
from throng.cli.refusal import Refusal, refusals
from throng.cli.rpc_options import rpc_options
from throng.domain.errors import ErrorCode, ThrongError
from throng.runtime.rpc_security import RpcSecurity

_WAIT_SECONDS = 0.1


def _target(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        [
            click.option(
                "--data-dir",
                type=click.Path(path_type=pathlib.Path, file_okay=False),
                help="Data folder of a running `throng up`: gives the three below where they are not named.",
            ),
            click.option(
                "--url", "urls", multiple=True, help="Address of an edge, such as ws://127.0.0.1:8080; may be given again."
            ),
            click.option("--group-address", metavar="HOST:PORT", help="gRPC address of a group service."),
            click.option(
                "--jwt-secret-file",
                type=click.Path(path_type=pathlib.Path, dir_okay=False),
                help="File with the secret that signs tokens.",
            ),
            click.option(
                "--server-pid",
                "server_pids",
                type=int,
                multiple=True,
                help="A process of the server on this machine: its memory and CPU are told; --data-dir names it.",
            ),
            click.option("--allow-remote", is_flag=True, help="Allow addresses that are not this machine's loopback."),
        ]
    ):
        command = option(command)
    return command


def _load(command: Callable[..., Any]) -> Callable[..., Any]:
    defaults = {name: field.default for name, field in BenchPlan.__dataclass_fields__.items()}

    def number(flag: str, kind: Any, text: str, *, field: str = "") -> Callable[..., Any]:
        default = defaults[field or flag.removeprefix("--").replace("-", "_")]
        return click.option(
            flag, field or flag.removeprefix("--").replace("-", "_"), type=kind, default=default, show_default=True, help=text
        )

    for option in reversed(
        [
            click.option(
                "--scenario",
                type=click.Choice([scenario.value for scenario in Scenario]),
                default="delivery",
                show_default=True,
                help="A named load with options and demands of its own; what is named beside it counts more. See docs/bench.md.",
            ),
            click.option("--group", "group_ids", multiple=True, help="Use this group; may be given again.  [default: new groups]"),
            number("--groups", int, "New groups to make, without limits on sending."),
            number("--receivers", int, "Receivers in all."),
            number("--senders", int, "Senders in all."),
            number("--rate", float, "Messages per second in all."),
            number("--seconds", float, "How long to send."),
            number("--text-bytes", int, "Size of a text, 120 to 4000."),
            click.option(
                "--delivery",
                type=click.Choice([mode.value for mode in DeliveryMode]),
                default="inline",
                show_default=True,
                help="How receivers are told: whole blocks, or notices upon which they pull.",
            ),
            number("--workers", int, "Processes of the load client; 0: as many as it needs."),
            number("--ramp", float, "Connections to open per second in all."),
            number("--connect-seconds", float, "Time for all clients to take part; 0: by the ramp."),
            number("--settle-seconds", float, "Time until all is answered and delivered after the sending."),
            number("--audit-seconds", float, "Time for reading the history."),
            number("--max-attempts", int, "How often a refused message is sent before it is given up."),
            click.option("--block-max-messages", type=int, help="Of new groups: push a block at this many messages."),
            click.option("--block-interval-ms", type=int, help="Of new groups: push a block when it is this old."),
            number("--catch-up-limit-seconds", float, "A receiver slower than this after a reconnect is a fault; 0: measure only."),
            click.option("--rate-steps", default="", help="Factors of the rate, each for an equal part of the sending: 1,10,100."),
            number("--budget-per-second", int, "Of new groups: messages per second; 0: no limit."),
            number("--churn-per-second", float, "Receivers that leave per second and come back."),
            number("--cut-share", float, "Share of all clients whose sockets are cut in the middle of the sending."),
            number("--slow-share", float, "Share of receivers that stops reading after a quarter of the sending."),
            number("--stall-seconds", float, "How long those do not read."),
            number("--repeat-seconds", float, "Cuts and stalls come again with this period; 0: once."),
            click.option("--seed", type=int, help="Seed of the clients' jitter."),
        ]
    ):
        command = option(command)
    return command


@click.command()
@_target
@rpc_options
@_load
@click.option("--report", "report_file", type=click.Path(path_type=pathlib.Path, dir_okay=False), help="Write the report as JSON.")
@click.option(
    "--plot", "plot_file", type=click.Path(path_type=pathlib.Path, dir_okay=False), help="Draw rates and latencies over time (SVG)."
)
@click.option("--quiet", is_flag=True, help="No progress.")
def bench(
    data_dir: pathlib.Path | None,
    report_file: pathlib.Path | None,
    plot_file: pathlib.Path | None,
    security: Callable[[], RpcSecurity],
    *,
    quiet: bool,
    **options: Any,
) -> None:
    """Send messages to a running Throng, receive them, and judge whether every promise was kept.

    \b
    throng bench --data-dir data --receivers 1000 --senders 20 --rate 100 --seconds 30
    throng bench --data-dir data --scenario storm-reconnect

    Exit code: 0 passed, 1 a fault of the product, 2 a wrong call, 3 the load client was saturated, 4 the server could not be
    reached, 5 ended early, 6 a demand of the scenario was not met. Ctrl-C or SIGTERM stops the sending and judges what was sent;
    a second one ends at once. See docs/bench.md.
    """
    with refusals():
        _fill_target(options, data_dir)
        _fill_scenario(options, click.get_current_context())
        plan = BenchPlan(**options | {"delivery": DeliveryMode(options["delivery"])})
        run = BenchRun(plan, security())
    report = _watched(run, quiet=quiet)
    if report_file is not None:
        report_file.write_text(report.to_json(), encoding="utf-8")
    if plot_file is not None:
        plot_file.write_text(to_svg(report), encoding="utf-8")
    click.echo(report.summary())
    sys.exit(report.verdict.exit_code)


def _watched(run: BenchRun, *, quiet: bool) -> BenchReport:
    """Runs a plan; what keeps it from a report has the exit code of the verdict that comes nearest, never that of a fault."""
    try:
        with Interrupts() as interrupts:
            run.give_up_preparing_when(lambda: interrupts.count > 0)
            with run as running:
                return _watch(running, interrupts, quiet=quiet)
    except EndedEarlyError:
        verdict, text = Verdict.ABORTED, "ended before anything was sent"
    except ThrongError as error:
        own = error.code is ErrorCode.INTERNAL
        verdict, text = Verdict.LOAD_CLIENT_SATURATED if own else Verdict.SERVER_UNREACHABLE, str(error)
    click.echo(f"{verdict}: {text}", err=True)
    sys.exit(verdict.exit_code)


def _fill_scenario(options: dict[str, Any], context: click.Context) -> None:
    """Takes from a scenario what was not named."""
    scenario = options["scenario"] = Scenario(options["scenario"])
    steps = options["rate_steps"]
    try:
        options["rate_steps"] = tuple(float(part) for part in steps.split(",") if part.strip())
    except ValueError as error:
        raise Refusal(f"--rate-steps takes numbers separated by commas, such as 1,10,100; not {steps}.") from error
    given = context.get_parameter_source
    preset = PRESETS[scenario].options
    options |= {name: value for name, value in preset.items() if given(name) is ParameterSource.DEFAULT}


def _fill_target(options: dict[str, Any], data_dir: pathlib.Path | None) -> None:
    """Takes from a data folder what was not named."""
    if data_dir is not None:
        folder = DataFolder(data_dir)
        running = folder.read_running()
        if running is None and not (options["urls"] and options["group_address"]):
            raise Refusal(f"No `throng up` runs on {folder.path}; start it, or name --url and --group-address.")
        if running is not None:
            options["urls"] = options["urls"] or (f"http://{running.http}",)
            options["group_address"] = options["group_address"] or running.group
            options["server_pids"] = options["server_pids"] or (running.pid,)
        options["jwt_secret_file"] = options["jwt_secret_file"] or folder.key_file
    missing = [
        f"--{name.rstrip('s') if name == 'urls' else name.replace('_', '-')}"
        for name in ("urls", "group_address", "jwt_secret_file")
        if not options[name]
    ]
    if missing:
        raise Refusal(f"Name a --data-dir, or {', '.join(missing)}.")


def _watch(running: BenchRun, interrupts: Interrupts, *, quiet: bool) -> BenchReport:
    """Shows progress until the run is over; the first interrupt ends the sending, the second the settling, too."""
    from throng.cli.bench_progress import progress_display

    heard = 0
    with progress_display(running.plan, quiet=quiet) as show:
        while not running.done:
            if interrupts.count > heard:
                heard = interrupts.count
                running.abort() if heard == 1 else running.cut()
            show(running)
            time.sleep(_WAIT_SECONDS)
    return running.wait()
