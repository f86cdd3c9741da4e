"""Secrets come from files, never from flags or the environment, so that no process list and no log shows them."""

from __future__ import annotations

import pathlib

from throng.domain.errors import ErrorCode, ThrongError


def read_secret_file(path: pathlib.Path) -> str:
    """Reads one secret: the file's text without white space at its end.

    Raises:
        ThrongError: INVALID_ARGUMENT that names the file, when it cannot be read, is no UTF-8 text, or is empty.
    """
    try:
        secret = path.read_text(encoding="utf-8").rstrip()
    except OSError as error:
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, f"the secret file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, f"the secret file {path} is no UTF-8 text") from None
    if not secret:
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, f"the secret file {path} is empty")
    return secret
