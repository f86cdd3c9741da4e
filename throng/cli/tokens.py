"""`throng token`: a JWT that a `throng up` on the same data folder accepts, or edges with the same secret."""

from __future__ import annotations

import pathlib

import click

from throng.cli.data_folder import DataFolder
from throng.cli.refusal import Refusal, refusals
from throng.domain.ids import check_identifier

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class _Duration(click.ParamType[int]):
    """A number of seconds, or a number with `s`, `m`, `h` or `d`."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        unit = _UNITS.get(text[-1:], 0)
        digits = text[:-1] if unit else text
        if not digits.isdecimal() or not 1 <= int(digits) * (unit or 1) <= 365 * 86_400:
            self.fail(f"{text!r} is not a time such as 90, 15m, 12h or 30d (at most 365d)", param, ctx)
        return int(digits) * (unit or 1)


@click.command()
@click.option("--user", required=True, help="user_id: 1 to 64 of A-Z a-z 0-9 _ - . :")
@click.option("--name", default="", help="Name shown to others.  [default: the user_id]")
@click.option(
    "--ttl",
    "ttl_seconds",
    type=_Duration(),
    default="12h",
    show_default=True,
    help="How long it is valid, such as 90, 15m, 12h, 30d.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=pathlib.Path, file_okay=False),
    default="data",
    show_default=True,
    help="Data folder of `throng up`; its key is made there when it is missing.",
)
@click.option(
    "--jwt-secret-file",
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    envvar="THRONG_EDGE_JWT_SECRET_FILE",
    show_envvar=True,
    help="The secret of the edges, instead of the key in a data folder.",
)
def token(user: str, name: str, ttl_seconds: int, data_dir: pathlib.Path, jwt_secret_file: pathlib.Path | None) -> None:
    """Print a token (JWT) for a user.

    A program sends it as `Authorization: Bearer TOKEN` when it opens the WebSocket; docs/protocol.md shows how.
    """
    from throng.adapters.jwt_tokens import TokenIssuer

    with refusals():
        check_identifier(user, "--user")
        if len(name) > 100:
            raise Refusal("--name may have 100 characters at the most.")
        if jwt_secret_file is None:
            folder = DataFolder(data_dir)
            folder.make()
            jwt_secret_file = folder.key_file
        click.echo(TokenIssuer.from_file(jwt_secret_file).issue(user, name=name, ttl_seconds=ttl_seconds))
