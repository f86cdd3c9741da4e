"""Generates the Python API in throng/api from the protos; `--check` fails when the committed code differs.

The protos are copied to a folder `throng/api/<area>/v1` first, with the folder in their import lines, so that protoc's
own imports agree with the Python package and nothing generated is rewritten (docs/adr/0001-generated-api.md).
"""

from __future__ import annotations

import argparse
import filecmp
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

PROTOS = pathlib.Path(__file__).resolve().parent
REPOSITORY = PROTOS.parent
API = REPOSITORY / "throng" / "api"
_INIT = '"""Generated from protos/ by protos/generate.py; do not edit."""\n'


def stage(root: pathlib.Path) -> list[str]:
    """Copies every proto below `root`/throng/api and returns their names relative to `root`."""
    names: list[str] = []
    for source in sorted(PROTOS.glob("throng/**/*.proto")):
        name = "throng/api/" + str(source.relative_to(PROTOS / "throng"))
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text(encoding="utf-8")
        target.write_text(re.sub(r'^import "throng/', 'import "throng/api/', text, flags=re.M), encoding="utf-8")
        names.append(name)
    return names


def generate(output: pathlib.Path) -> None:
    """Writes modules, gRPC stubs, type stubs and `__init__.py` files to `output`/throng/api."""
    scripts = pathlib.Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        names = stage(root)
        services = [name for name in names if re.search(r"^service ", (root / name).read_text(encoding="utf-8"), re.M)]
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{root}"]
        plugins = [
            f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
        ]
        subprocess.run([*command, *plugins, f"--python_out={output}", f"--mypy_out=quiet:{output}", *names], check=True)
        subprocess.run(
            [*command, *plugins, f"--grpc_python_out={output}", f"--mypy_grpc_out=quiet:{output}", *services], check=True
        )
    api = output / "throng" / "api"
    for directory in [api, *(path for path in api.rglob("*") if path.is_dir())]:
        (directory / "__init__.py").write_text(_INIT, encoding="utf-8")


def differences(one: pathlib.Path, other: pathlib.Path) -> list[str]:
    """Names the files that are missing on one side or differ; caches are passed over."""
    names = {
        str(path.relative_to(root))
        for root in (one, other)
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return sorted(
        name
        for name in names
        if not (one / name).is_file() or not (other / name).is_file() or not filecmp.cmp(one / name, other / name, shallow=False)
    )


def main() -> int:
    """Generates, or with `--check` compares; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the committed code; change nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder)
        generate(output)
        fresh = output / "throng" / "api"
        if arguments.check:
            changed = differences(fresh, API)
            for name in changed:
                print(f"throng/api/{name} differs from the protos: run make protos", file=sys.stderr)
            return 1 if changed else 0
        shutil.rmtree(API, ignore_errors=True)
        shutil.copytree(fresh, API)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
