"""What is wrong, in one sentence on stderr, with exit code 2 (a wrong call) or 1 (it failed)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click

from throng.domain.errors import ErrorCode, ThrongError
from throng.runtime.settings import SettingsError


class Refusal(click.ClickException):
    """The command cannot do what it was asked; the text says why and, where there is one, names the remedy."""

    exit_code = 2


class Failure(click.ClickException):
    """The command was right and failed."""

    exit_code = 1


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turns SettingsError and ThrongError inside into a sentence for the terminal."""
    try:
        yield
    except SettingsError as error:
        raise Refusal(str(error)) from error
    except ThrongError as error:
        retry = f" Try again in {error.retry_after_ms / 1000:g} s." if error.retry_after_ms else ""
        kind = Refusal if error.code is ErrorCode.INVALID_ARGUMENT else Failure
        raise kind(f"{error.text[:1].upper()}{error.text[1:].rstrip('.')} ({error.code.name}).{retry}") from error
