"""`throng cluster`: everything that production has, on one machine, for trying out, breaking and measuring."""

from __future__ import annotations

import pathlib

import click

from throng.cli.refusal import Failure, Refusal, refusals
from throng.cluster.cluster import Cluster
from throng.cluster.plan import ClusterPlan
from throng.cluster.service_process import ClusterError
from throng.runtime import logs
from throng.runtime.lifecycle import wait_for_signal
from throng.testing.servers import ServerMissing
from throng.testing.servers.packages import install_servers

_COUNT = click.IntRange(1, 16)


@click.command()
@click.option("--edges", type=_COUNT, default=2, show_default=True, help="Edge processes.")
@click.option("--routers", type=_COUNT, default=2, show_default=True, help="Routers.")
@click.option("--groups", type=_COUNT, default=2, show_default=True, help="Group services.")
@click.option("--unreads", type=_COUNT, default=1, show_default=True, help="Unread services.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve the page on; all else is on 127.0.0.1.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port of the first edge's page, the others have the next ones; 0: any free ones.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=pathlib.Path, file_okay=False),
    default="cluster-data",
    show_default=True,
    help="Folder for data, logs and addresses; Kafka and MariaDB keep theirs over restarts.",
)
@click.option("--fresh/--keep", default=False, help="Begin without what an earlier cluster left in the folder.  [default: keep]")
@click.option("--restart/--no-restart", default=True, show_default=True, help="Start processes again that die.")
@click.option(
    "--tls",
    is_flag=True,
    help="Certificates and a shared token between the services, TLS from services to Kafka, MariaDB and Redis.",
)
@click.option("--install", is_flag=True, help="Install servers that are missing (apt-get, Maven) first.")
def cluster(*, data_dir: pathlib.Path, fresh: bool, restart: bool, tls: bool, install: bool, **numbers: int | str) -> None:
    """Start real Kafka, MariaDB and Redis and several of each service on this machine.

    Everything ends with this command, also when it is killed. Anyone who can reach the page may log in with any name: this is for
    development, tests of faults and benchmarks.
    """
    logs.configure(level="WARNING")
    if install and not install_servers():
        raise Failure("Not all servers could be installed.")
    plan = ClusterPlan(**numbers, restart_dead=restart, tls=tls)  # type: ignore[arg-type]
    if plan.port + plan.edges > 65_535:
        raise Refusal(f"--port {plan.port} leaves no room for {plan.edges} edges.")
    everything = Cluster(data_dir, plan, say=lambda text: click.echo(text, err=True))
    try:
        with refusals():
            everything.start(fresh=fresh)
        _greet(everything)
        wait_for_signal()
        click.echo("Stopping …", err=True)
    except ServerMissing as error:
        raise Failure(f"{str(error)[:1].upper()}{str(error)[1:]}. `make cluster` installs all that is missing.") from error
    except ClusterError as error:
        raise Failure(str(error)) from error
    except OSError as error:
        raise Failure(f"The cluster cannot start: {error.strerror or error}.") from error
    finally:
        everything.stop()


def _greet(running: Cluster) -> None:
    click.echo("\nThe cluster runs:")
    for edge, url in zip(running.of("edge"), running.edge_urls(), strict=True):
        click.echo(f"  {edge.name:<10} {url}/")
    click.echo("  Log in with any name. Open one edge in one browser and another in a second: they share the lobby.")
    click.echo("\n  Metrics, and logs in the folder " + str(running.logs))
    for process in running.processes.values():
        click.echo(f"  {process.name:<10} http://{process.addresses.metrics}/metrics   pid {process.pid}")
    for backend in running.backends.all():
        click.echo(f"  {backend.name:<10} port {getattr(backend.server, 'port', '?')}   pid {backend.pid}")
    click.echo(f"\n  A token for a program: throng token --user bot --data-dir {running.folder}")
    click.echo(f"  A group: throng group create team --open --data-dir {running.folder}{_rpc_flags(running)}")
    click.echo(f"  All addresses for programs: {running.folder / 'cluster.json'}")
    click.echo("  Stop with Ctrl-C.\n")


def _rpc_flags(running: Cluster) -> str:
    """What `throng group` needs besides where calls are secured."""
    if not running.plan.tls:
        return ""
    tls = running.folder / "tls"
    files = {"ca": tls / "group-ca.pem", "cert": tls / "group.pem", "key": tls / "group.key", "token": tls / "rpc.token"}
    return "".join(f" --rpc-{name}-file {file}" for name, file in files.items()) + " --rpc-server-name throng"
