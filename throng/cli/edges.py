"""`throng edge`: runs an edge, or lists, weighs and drains edges through a router."""

from __future__ import annotations

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from throng.api.router.v1 import router_pb2, router_pb2_grpc
from throng.cli import serve
from throng.cli.data_folder import DataFolder
from throng.cli.dialling import dialled
from throng.cli.refusal import Refusal, refusals
from throng.cli.rpc_options import address_options, rpc_options
from throng.runtime.rpc_security import RpcSecurity

_SECONDS = 10.0
_HEAD = ("EDGE", "STATE", "CONNECTIONS", "OF", "CPU", "LAG MS", "WEIGHT", "BY HAND", "URL")


def _read_weight(context: click.Context, parameter: click.Parameter, value: str) -> int:
    """1 to 1000, or `auto`, which is 0."""
    if value == "auto":
        return 0
    if value.isdigit() and 1 <= int(value) <= 1_000:
        return int(value)
    raise click.BadParameter(f"{value!r} is neither 1 to 1000 nor auto")


def _at_router(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a command with the options that say which router it speaks to; it gets `router`, which makes a stub."""

    @functools.wraps(command)
    def with_router(
        *arguments: Any, data_dir: pathlib.Path, address: str | None, security: Callable[[], RpcSecurity], **more: Any
    ) -> Any:
        return command(*arguments, router=functools.partial(_router, data_dir, address, security), **more)

    wrapped = rpc_options(with_router, service="router")
    return address_options(wrapped, of="a router", folder_help="Data folder of a running `throng up`.")


@contextlib.contextmanager
def _router(data_dir: pathlib.Path, address: str | None, security: Callable[[], RpcSecurity]) -> Iterator[Any]:
    with refusals():
        if address is None:
            running = DataFolder(data_dir).read_running()
            if running is None:
                raise Refusal(
                    f"No Throng runs on {data_dir.absolute()}; name a router with --address, or the folder with --data-dir."
                )
            address = running.router
        with dialled("router", address, security()) as channel:
            yield router_pb2_grpc.RouterServiceStub(channel)


@click.group(
    "edge",
    invoke_without_command=True,
    short_help=serve.SERVICES["edge"].summary,
    epilog="Without a command this runs an edge until it is stopped.",
)
@click.pass_context
@serve.with_settings("edge")
def edge(context: click.Context, **keywords: Any) -> None:
    """Run an edge: it terminates the clients' WebSockets and fans messages out to them; or, with a command, manage edges.

    \b
    throng edge list
    throng edge weight edge-1 50
    throng edge drain edge-1 --window-ms 20000
    """
    if context.invoked_subcommand is None:
        serve.run("edge", **keywords)


@edge.command("list")
@_at_router
def list_edges(router: Callable[[], contextlib.AbstractContextManager[Any]]) -> None:
    """List the edges that are alive: connections, load, and the weight by which new clients are dealt out."""
    with router() as stub:
        edges = stub.ListEdges(router_pb2.ListEdgesRequest(), timeout=_SECONDS).edges
    for line in _table([_HEAD, *(_row(each) for each in edges)]):
        click.echo(line)


@edge.command()
@click.argument("edge_id")
@click.argument("weight", callback=_read_weight, metavar="1-1000|auto")
@_at_router
def weight(edge_id: str, weight: int, router: Callable[[], contextlib.AbstractContextManager[Any]]) -> None:
    """Set the share of new clients of an edge by hand; `auto` leaves it to its load again.

    An idle edge among equals has the weight 100. What is set stays through restarts of the edge, until it has been away for a week.
    """
    with router() as stub:
        stub.SetEdgeWeight(router_pb2.SetEdgeWeightRequest(edge_id=edge_id, weight=weight), timeout=_SECONDS)
    click.echo(f"{edge_id}: weight {weight or 'by load'}")


@edge.command()
@click.argument("edge_id")
@click.option(
    "--window-ms",
    type=click.IntRange(1, 600_000),
    help="Time over which its clients leave, milliseconds.  [default: the edge's drain_window_ms]",
)
@_at_router
def drain(edge_id: str, window_ms: int | None, router: Callable[[], contextlib.AbstractContextManager[Any]]) -> None:
    """Empty an edge: no new clients, and its own leave over a window, to other edges, losing nothing.

    The process stays up, empty, until it is stopped or `throng edge undrain` calls it back; started anew it takes clients.
    """
    with router() as stub:
        response = stub.DrainEdge(router_pb2.DrainEdgeRequest(edge_id=edge_id, window_ms=window_ms or 0), timeout=_SECONDS)
    click.echo(f"{edge_id} drains; {response.connections} connections leave")


@edge.command()
@click.argument("edge_id")
@_at_router
def undrain(edge_id: str, router: Callable[[], contextlib.AbstractContextManager[Any]]) -> None:
    """Have an edge that drains take clients again. Its share grows over 30 seconds."""
    with router() as stub:
        stub.UndrainEdge(router_pb2.UndrainEdgeRequest(edge_id=edge_id), timeout=_SECONDS)
    click.echo(f"{edge_id} takes clients again")


def _row(record: router_pb2.EdgeRecord) -> tuple[str, ...]:
    load = record.load
    full = load.max_connections and load.connections >= load.max_connections
    by_hand = record.ordered_weight or record.identity.weight
    return (
        record.identity.edge_id,
        "drains" if load.draining or record.drain_ordered else "full" if full else "serves",
        str(load.connections),
        str(load.max_connections or "-"),
        f"{load.cpu_share:.0%}",
        str(load.fanout_lag_ms),
        str(record.effective_weight),
        str(by_hand or "-"),
        record.identity.public_url,
    )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
