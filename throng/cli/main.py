"""The `throng` command and its verbs, loaded when they are called."""

from __future__ import annotations

import importlib

import click

import throng

_VERBS = {
    "up": ("throng.cli.all_in_one", "up", "Start everything on this machine, in one process."),
    "edge": ("throng.cli.edges", "edge", "Run an edge; or list, weigh and drain edges."),
    "group": ("throng.cli.groups", "group", "Run the group service; or create, show and change groups."),
    "router": ("throng.cli.serve", "router", "Run a router: it knows which edges hold which group."),
    "unread": ("throng.cli.serve", "unread", "Run the unread service: read cursors and unread counts."),
    "cluster": ("throng.cluster.command", "cluster", "Start Kafka, MariaDB, Redis and several of each service here."),
    "token": ("throng.cli.tokens", "token", "Print a token for a user."),
    "migrate": ("throng.cli.migrations", "migrate", "Bring the tables to this version."),
    "topics": ("throng.cli.topics", "topics", "Make the topics in Kafka."),
    "health": ("throng.cli.health", "health", "Ask a service that runs here whether it serves."),
    "bench": ("throng.cli.bench", "bench", "Send a load to a running Throng and judge what is delivered."),
    "plan": ("throng.cli.plan", "plan", "Reckon what a crowd needs: edges, cores, memory, network, stores."),
    "version": ("throng.cli.main", "version", "Print the version."),
}


class _Verbs(click.Group):
    """Imports a verb's module only when it is needed: `throng token` does not wait for gRPC."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module, attribute, _ = _VERBS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in _VERBS.items()])


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """Throng: one chat group with a million people online at once.

    \b
    Start everything on this machine:      throng up
    Get a token for a user:                throng token --user alice
    Make a group that anyone may enter:    throng group create team --name "Our team" --open

    In production each service runs on its own: throng edge, throng group, throng router, throng unread.
    """


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"throng {throng.__version__}")


if __name__ == "__main__":
    main()
