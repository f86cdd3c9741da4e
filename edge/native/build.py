"""Compiles the loop for this machine: `python -m edge.native.build [FOLDER]`; needs a C compiler, no Python headers."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from edge.native.library import SOURCE, NativeBulkSend, NativeMissingError, folders, library_name

_COMPILERS = ("cc", "gcc", "clang")


class BuildError(Exception):
    """It was not compiled; the text says why and what to do."""


def build(folder: pathlib.Path) -> pathlib.Path:
    """Compiles into a folder and tries the result.

    Raises:
        BuildError: there is no compiler, it fails, or the folder cannot be written.
    """
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        raise BuildError("no C compiler: apt-get install gcc libc6-dev")
    target = folder / library_name()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = pathlib.Path(scratch) / "fan_out.so"
            command = [compiler, "-O2", "-std=gnu11", "-shared", "-fPIC", "-o", str(made), str(SOURCE)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            if done.returncode:
                raise BuildError(f"{compiler} failed: {done.stderr.strip()}")
            NativeBulkSend(made)
            os.replace(made, target)
    except (OSError, subprocess.TimeoutExpired, NativeMissingError) as error:
        raise BuildError(str(error)) from error
    return target


def main(arguments: Sequence[str]) -> int:
    """Compiles beside the source, or into the user's cache where that cannot be written, or into the folder named."""
    wanted = tuple(map(pathlib.Path, arguments)) or folders()
    error: BuildError | None = None
    for folder in wanted:
        try:
            print(build(folder))
            return 0
        except BuildError as failed:
            error = failed
    print(f"not built: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
