"""The C programs of the benches, built where there is a compiler."""

from __future__ import annotations

import pathlib
import shutil
import subprocess


def compiled(folder: pathlib.Path, *sources: pathlib.Path) -> list[pathlib.Path] | None:
    """Builds each source into a folder, under its own name; None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    built = [folder / source.stem for source in sources]
    for source, program in zip(sources, built, strict=True):
        subprocess.run([compiler, "-O2", "-o", program, source], check=True)
    return built
