"""Secrets come from files, never from flags or the environment, so that no process list and no log shows them."""

from __future__ import annotations

import pathlib
import stat

import structlog

from throng.domain.errors import ErrorCode, ThrongError

MAX_SECRET_BYTES = 65_536
"""More is no secret but a wrong file."""

_OTHERS = stat.S_IRWXO
_log = structlog.get_logger("throng.secrets")


def read_secret_file(path: pathlib.Path) -> str:
    """Reads one secret: the file's text without white space at its end.

    A file that everyone on the machine may read or write is used all the same, with the warning `secret_file_open`. (A group
    may: Kubernetes mounts secrets for the group of a pod.)

    Raises:
        ThrongError: INVALID_ARGUMENT that names the file, when it cannot be read, is no UTF-8 text, is empty or far too long.
    """
    try:
        secret = read_secret_bytes(path).decode("utf-8").rstrip()
    except UnicodeDecodeError:
        raise _refused(path, "is no UTF-8 text") from None
    if not secret:
        raise _refused(path, "is empty")
    return secret


def read_secret_bytes(path: pathlib.Path) -> bytes:
    """Reads a file that holds a secret as it is, such as a private key in PEM; permissions as in `read_secret_file`.

    Raises:
        ThrongError: INVALID_ARGUMENT that names the file, when it cannot be read, is empty or far too long.
    """
    content = _read(path)
    if not content.strip():
        raise _refused(path, "is empty")
    if path.stat().st_mode & _OTHERS:
        _log.warning("secret_file_open", file=str(path), remedy="chmod o-rwx")
    return content


def read_secret_lines(path: pathlib.Path) -> tuple[str, ...]:
    """Reads several secrets, one a line, blank lines left out.

    Raises:
        ThrongError: as `read_secret_file`.
    """
    return tuple(line.strip() for line in read_secret_file(path).splitlines() if line.strip())


def read_public_file(path: pathlib.Path) -> bytes:
    """Reads a file that is no secret and stands beside one, such as a certificate.

    Raises:
        ThrongError: INVALID_ARGUMENT that names the file, when it cannot be read or is far too long.
    """
    return _read(path)


def _read(path: pathlib.Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_SECRET_BYTES:
        raise _refused(path, f"has more than {MAX_SECRET_BYTES} bytes; is it the right one?")
    return content


def _refused(path: pathlib.Path, why: str) -> ThrongError:
    return ThrongError(ErrorCode.INVALID_ARGUMENT, f"the secret file {path} {why}")
