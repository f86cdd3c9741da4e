"""The C clients of the benches, built for tests of their own."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

from backends import backend_missing


def compiled(source: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Builds a client with every warning an error; without a compiler the test is left out, as any backend."""
    compiler = shutil.which("cc")
    if compiler is None:
        backend_missing("cc", "apt-get install gcc libc6-dev")
    built = folder / source.stem
    subprocess.run([compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-o", built, source], check=True)
    return built
