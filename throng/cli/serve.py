"""One service per process: `throng edge | group | router | unread`, each setting a flag (edge and group have verbs besides)."""

from __future__ import annotations

import functools
import gc
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

from throng.adapters.system_clock import SystemClock
from throng.cli.refusal import refusals
from throng.runtime import logs
from throng.runtime.aio_thread import AioThread
from throng.runtime.lifecycle import Part, Parts, wait_for_signal
from throng.runtime.settings import ServiceSettings, load

_Make = Callable[[Any, AioThread, CollectorRegistry], Part]


@dataclass(frozen=True, slots=True)
class Service:
    """A service as the command line sees it: its name, a line about it, how to load its settings and make its app; whether the
    app serves `metrics_port` itself."""

    name: str
    summary: str
    settings: Callable[[], type[ServiceSettings]]
    make: _Make
    serves_metrics: bool = False


def _edge_settings() -> type[ServiceSettings]:
    from edge.settings import EdgeSettings

    return EdgeSettings


def _edge(settings: Any, aio: AioThread, registry: CollectorRegistry) -> Part:
    from edge.app import EdgeApp

    return EdgeApp(settings, aio, registry=registry)


def _group_settings() -> type[ServiceSettings]:
    from group_svc.settings import GroupServiceSettings

    return GroupServiceSettings


def _group(settings: Any, aio: AioThread, registry: CollectorRegistry) -> Part:
    from group_svc.app import GroupApp

    return GroupApp(settings, registry=registry)


def _router_settings() -> type[ServiceSettings]:
    from router_svc.settings import RouterSettings

    return RouterSettings


def _router(settings: Any, aio: AioThread, registry: CollectorRegistry) -> Part:
    from router_svc.app import RouterApp

    return RouterApp(settings, aio, registry=registry, clock=SystemClock())


def _unread_settings() -> type[ServiceSettings]:
    from unread_svc.settings import UnreadSettings

    return UnreadSettings


def _unread(settings: Any, aio: AioThread, registry: CollectorRegistry) -> Part:
    from unread_svc.app import UnreadApp

    return UnreadApp(settings, registry=registry, clock=SystemClock())


SERVICES = {
    "edge": Service("edge", "Run an edge; or list, weigh and drain edges.", _edge_settings, _edge, serves_metrics=True),
    "group": Service("group", "Run the group service, the one writer of groups; or manage groups.", _group_settings, _group),
    "router": Service("router", "Run a router: it knows which edges hold which group.", _router_settings, _router),
    "unread": Service("unread", "Run the unread service: read cursors and unread counts.", _unread_settings, _unread),
}


def with_settings(name: str, *, only: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a command with one flag per setting of a service (those that begin with `only`), `--config`, `--exit-with-parent`.

    The function gets `values` (setting to what was given, None where nothing was), `config` and `tied`.
    """
    fields = {field: info for field, info in SERVICES[name].settings().model_fields.items() if field.startswith(only)}

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(*arguments: Any, **keywords: Any) -> Any:
            values = {field: keywords.pop(field) for field in fields}
            return function(*arguments, values=values, **keywords)

        wrapped: Callable[..., Any] = command
        for field, info in reversed(list(fields.items())):
            flag = f"--{field.replace('_', '-')}"
            text = f"{info.description} [env: THRONG_{name.upper()}_{field.upper()}]"
            wrapped = click.option(flag, field, default=None, help=text, metavar="VALUE")(wrapped)
        wrapped = click.option("--exit-with-parent", "tied", is_flag=True, hidden=True)(wrapped)
        return click.option(
            "--config", type=click.Path(path_type=pathlib.Path), help=f"TOML file with a table [{name}]; flags and environment win."
        )(wrapped)

    return decorate


def run(name: str, *, values: dict[str, Any], config: pathlib.Path | None, tied: bool) -> None:
    """Runs one service until SIGTERM or SIGINT; `tied`: or until the pipe at its standard input is closed."""
    service = SERVICES[name]
    if tied:
        exit_with_parent()
    logs.configure()
    with refusals():
        settings = load(service.settings(), flags=values, file=config)
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        aio = AioThread()
        aio.start()
        parts = Parts()
        try:
            parts.start(service.make(settings, aio, registry))
            if settings.metrics_port is not None and not service.serves_metrics:
                start_http_server(settings.metrics_port, settings.metrics_host, registry)
            collect_seldom()
            wait_for_signal()
        finally:
            parts.stop()
            aio.stop()


def collect_seldom() -> None:
    """Looks for cycles of garbage less often: nearly nothing here makes any, and what lives as long as the process is left out."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def exit_with_parent() -> None:
    """Ends this process in good order when its standard input, a pipe from its parent, is closed (also by kill -9)."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


@click.command("router", short_help=SERVICES["router"].summary)
@with_settings("router")
def router(**keywords: Any) -> None:
    """Run a router: it knows which edges hold which group, and hands them what is published."""
    run("router", **keywords)


@click.command("unread", short_help=SERVICES["unread"].summary)
@with_settings("unread")
def unread(**keywords: Any) -> None:
    """Run the unread service: it stores how far users have read and counts what they have not."""
    run("unread", **keywords)
