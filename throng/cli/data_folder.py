"""What lies in a data folder: `lock` (one owner at a time), `token.key` (made at first start), `running.json` (addresses)."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import secrets
from dataclasses import asdict, dataclass, fields

from throng.cli.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Running:
    """Addresses of the services that run on a data folder."""

    pid: int
    http: str
    group: str
    router: str
    unread: str
    operations: tuple[str, ...] = ()
    """For each edge process of `throng up`, where it alone serves its metrics and health."""


class DataFolder:
    """A folder that holds the SQLite files, the key of the tokens and the addresses of what runs."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    @property
    def key_file(self) -> pathlib.Path:
        """The secret that signs tokens; 64 hexadecimal digits."""
        return self.path / "token.key"

    @property
    def _running_file(self) -> pathlib.Path:
        return self.path / "running.json"

    def make(self) -> None:
        """Makes the folder and the key where they are missing.

        Raises:
            Refusal: the folder cannot be made or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not self.key_file.exists():
                descriptor = os.open(self.key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w", encoding="ascii") as file:
                    file.write(secrets.token_hex(32) + "\n")
        except FileExistsError:
            pass  # another process made the key at the same moment
        except OSError as error:
            raise Refusal(f"The data folder {self.path} cannot be used: {error.strerror}.") from error

    def lock(self) -> None:
        """Takes the folder for this process until it ends.

        Raises:
            Refusal: another process has it.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise Refusal(
                f"Another Throng runs on {self.path}; stop it, or give this one its own folder with --data-dir."
            ) from error
        self._lock = descriptor

    @property
    def lock_descriptor(self) -> int | None:
        """The open lock: a child that inherits it keeps the folder taken for as long as it lives."""
        return self._lock

    def unlock(self) -> None:
        """Gives the folder back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write_running(self, running: Running) -> None:
        """Notes the addresses, in one step."""
        temporary = self._running_file.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(running), indent=2) + "\n", encoding="utf-8")
        temporary.replace(self._running_file)

    def remove_running(self) -> None:
        """Takes the addresses away."""
        self._running_file.unlink(missing_ok=True)

    def read_running(self) -> Running | None:
        """The addresses of what runs on the folder; None when nothing does (also after a kill)."""
        if not self.is_locked():
            return None
        try:
            content = json.loads(self._running_file.read_text(encoding="utf-8"))
            known = {field.name: content[field.name] for field in fields(Running) if field.name in content}
            return Running(**known | {"operations": tuple(known.get("operations", ()))})
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def is_locked(self) -> bool:
        """A process has the folder."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False
