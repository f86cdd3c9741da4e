"""`throng group`: runs the group service, or creates, shows and changes groups through its gRPC API."""

from __future__ import annotations

import contextlib
import datetime
import functools
import pathlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import click
import grpc

from throng.api.common.v1 import group_pb2 as common_group_pb2
from throng.api.common.v1 import message_pb2
from throng.api.group.v1 import group_pb2, group_pb2_grpc, message_pb2_grpc
from throng.api.group.v1 import message_pb2 as group_message_pb2
from throng.cli import serve
from throng.cli.group_link import group_channel
from throng.cli.group_settings import budget_text, limit_options, settings_of
from throng.cli.refusal import refusals
from throng.cli.rpc_options import address_options, rpc_options
from throng.runtime.rpc_security import RpcSecurity

_SECONDS = 20.0
_ROLES = {
    "owner": common_group_pb2.ROLE_OWNER,
    "administrator": common_group_pb2.ROLE_ADMINISTRATOR,
    "member": common_group_pb2.ROLE_MEMBER,
}
_ROLE_NAMES = {number: name for name, number in _ROLES.items()}


@dataclass(frozen=True, slots=True)
class _Where:
    """Which group service is spoken to, and how."""

    data_dir: pathlib.Path
    address: str | None
    security: Callable[[], RpcSecurity]


def _where(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a command with the options that say which group service it speaks to; it gets `where`."""

    @functools.wraps(command)
    def with_where(
        *arguments: Any, data_dir: pathlib.Path, address: str | None, security: Callable[[], RpcSecurity], **more: Any
    ) -> Any:
        return command(*arguments, where=_Where(data_dir, address, security), **more)

    wrapped = rpc_options(with_where)
    return address_options(wrapped, of="a group service", folder_help="Data folder of `throng up`. It need not be running.")


@contextlib.contextmanager
def _channel(where: _Where) -> Iterator[grpc.Channel]:
    with refusals(), group_channel(where.data_dir, where.address, where.security) as channel:
        yield channel


@click.group(
    "group",
    invoke_without_command=True,
    short_help=serve.SERVICES["group"].summary,
    epilog="Without a command this runs the group service until it is stopped.",
)
@click.pass_context
@serve.with_settings("group")
def group(context: click.Context, **keywords: Any) -> None:
    """Run the group service, the one writer of groups; or, with a command, manage groups.

    \b
    throng group create team --name "Our team" --open
    throng group add team alice bob
    throng group send team --user alice "Hello"
    """
    if context.invoked_subcommand is None:
        serve.run("group", **keywords)


@group.command()
@click.argument("group_id")
@click.option("--name", default="", help="Name for people, at most 100 characters.  [default: the group's id]")
@click.option("--owner", default="", help="User who owns the group.")
@click.option("--open", "is_open", is_flag=True, help="Anyone who enters becomes a member.")
@limit_options
@_where
def create(group_id: str, name: str, owner: str, *, is_open: bool, where: _Where, **limits: Any) -> None:
    """Create a group."""
    settings = settings_of(limits)
    settings.open = is_open
    request = group_pb2.CreateGroupRequest(group_id=group_id, name=name, owner_id=owner, settings=settings)
    with _channel(where) as channel:
        response = group_pb2_grpc.GroupServiceStub(channel).CreateGroup(request, timeout=_SECONDS)
    _print_group(response.group)


@group.command("set")
@click.argument("group_id")
@click.option("--name", help="New name for people, at most 100 characters.")
@click.option("--announcement", help="New announcement, at most 2,000 characters; empty: none.")
@click.option("--open/--closed", "is_open", default=None, help="Whether anyone who enters becomes a member.")
@limit_options
@_where
def change(
    group_id: str, name: str | None, announcement: str | None, *, is_open: bool | None, where: _Where, **limits: Any
) -> None:
    """Change a group while it is in use; what is not named stays. Edges and pages are told at once.

    \b
    throng group set team --send-interval-ms 30000      slow mode: one message every 30 s
    throng group set team --over-budget sample          in a storm a random share gets through
    """
    settings = settings_of(limits)
    if is_open is not None:
        settings.open = is_open
    if name is None and announcement is None and not settings.ListFields():
        raise click.UsageError("Name at least one thing to change.")
    request = group_pb2.UpdateGroupRequest(group_id=group_id, name=name, announcement=announcement, settings=settings)
    with _channel(where) as channel:
        response = group_pb2_grpc.GroupServiceStub(channel).UpdateGroup(request, timeout=_SECONDS)
    _print_group(response.group)


@group.command()
@click.argument("group_id")
@_where
def show(group_id: str, where: _Where) -> None:
    """Show a group."""
    with _channel(where) as channel:
        response = group_pb2_grpc.GroupServiceStub(channel).GetGroup(group_pb2.GetGroupRequest(group_id=group_id), timeout=_SECONDS)
    _print_group(response.group)


@group.command()
@click.argument("group_id")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many at the most.")
@click.option("--after", default="", help="Only users after this one.")
@_where
def members(group_id: str, limit: int, after: str, where: _Where) -> None:
    """List members, by user."""
    left, more = limit, True
    with _channel(where) as channel:
        stub = group_pb2_grpc.GroupServiceStub(channel)
        while left > 0 and more:
            request = group_pb2.ListMembersRequest(group_id=group_id, after_user_id=after, limit=min(left, 1000))
            page = stub.ListMembers(request, timeout=_SECONDS)
            for member in page.members:
                click.echo(f"{member.user_id}\t{_ROLE_NAMES[member.role]}\t{member.display_name}")
            left, more = left - len(page.members), page.more
            after = page.members[-1].user_id if page.members else after
    if more:
        click.echo(f"There are more; go on with --after {after}", err=True)


@group.command()
@click.argument("group_id")
@click.argument("users", nargs=-1, required=True)
@click.option("--role", type=click.Choice(list(_ROLES)), default="member", show_default=True)
@_where
def add(group_id: str, users: tuple[str, ...], role: str, where: _Where) -> None:
    """Add users to a group. Those who are members already are left as they are."""
    with _channel(where) as channel:
        stub = group_pb2_grpc.GroupServiceStub(channel)
        added, count = 0, 0
        for start in range(0, len(users), 1000):
            batch = [common_group_pb2.Member(user_id=user, role=_ROLES[role]) for user in users[start : start + 1000]]
            response = stub.AddMembers(group_pb2.AddMembersRequest(group_id=group_id, members=batch), timeout=_SECONDS)
            added, count = added + response.added, response.member_count
    click.echo(f"{added} added; {group_id} has {count} members")


@group.command()
@click.argument("group_id")
@click.argument("users", nargs=-1, required=True)
@_where
def remove(group_id: str, users: tuple[str, ...], where: _Where) -> None:
    """Remove users from a group. Their pages lose it at once."""
    with _channel(where) as channel:
        stub = group_pb2_grpc.GroupServiceStub(channel)
        removed, count = 0, 0
        for start in range(0, len(users), 1000):
            request = group_pb2.RemoveMembersRequest(group_id=group_id, user_ids=users[start : start + 1000])
            response = stub.RemoveMembers(request, timeout=_SECONDS)
            removed, count = removed + response.removed, response.member_count
    click.echo(f"{removed} removed; {group_id} has {count} members")


@group.command()
@click.argument("group_id")
@click.argument("text")
@click.option("--user", required=True, help="Who speaks; must be a member.")
@click.option(
    "--id", "client_msg_id", help="UUID of the message, to repeat a call that may have gone through.  [default: a new one]"
)
@_where
def send(group_id: str, text: str, user: str, client_msg_id: str | None, where: _Where) -> None:
    """Send TEXT to a group and wait until it is durable."""
    request = group_message_pb2.SendMessageRequest(
        group_id=group_id,
        user_id=user,
        client_msg_id=client_msg_id or str(uuid.uuid4()),
        body=message_pb2.Message(text=message_pb2.Text(text=text)),
    )
    with _channel(where) as channel:
        response = message_pb2_grpc.MessageServiceStub(channel).SendMessage(request, timeout=_SECONDS)
    click.echo(f"{group_id} {response.position.seq}")


def _print_group(found: common_group_pb2.Group) -> None:
    settings = found.settings
    made = datetime.datetime.fromtimestamp(found.created_at_ms / 1000, datetime.UTC).isoformat(timespec="seconds")
    rows = {
        "group": found.group_id,
        "name": found.name,
        "open": "yes" if settings.open else "no",
        "members": found.member_count,
        "head": f"{found.head_seq} (epoch {found.epoch})",
        "send interval": f"{settings.send_interval_ms} ms" if settings.send_interval_ms else "no limit",
        "budget": budget_text(settings),
        "block": f"{settings.block_max_messages} messages or {settings.block_interval_ms} ms",
        "created": made,
    }
    for name, value in rows.items():
        click.echo(f"{name:<14} {value}")
