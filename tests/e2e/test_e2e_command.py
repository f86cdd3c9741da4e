"""The `throng` command as a newcomer types it, with and without a running `throng up`."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest
from throng_process import ThrongProcess

pytestmark = pytest.mark.e2e
BIN = pathlib.Path(sys.executable).parent / "throng"


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [str(BIN), *arguments], capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **(environment or {})}
    )


def test_version() -> None:
    assert run("version").stdout.startswith("throng 0.")


@pytest.mark.parametrize(
    "verb", ["up", "edge", "group", "router", "unread", "cluster", "bench", "token", "migrate", "topics", "health", "version"]
)
def test_every_verb_has_help(verb: str) -> None:
    done = run(verb, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: ")


def test_groups_are_managed_while_it_runs_and_while_it_does_not(throng: ThrongProcess, data_dir: pathlib.Path) -> None:
    stopped = ThrongProcess(data_dir)
    data_dir.mkdir()
    for one in (throng, stopped):
        assert "Our team" in one.throng("group", "create", "team", "--name", "Our team", "--block-interval-ms", "0").stdout
        assert one.throng("group", "add", "team", "alice", "bob").stdout == "2 added; team has 2 members\n"
        assert one.throng("group", "add", "team", "bob", "carol").stdout == "1 added; team has 3 members\n"
        assert one.throng("group", "remove", "team", "carol").stdout == "1 removed; team has 2 members\n"
        assert [line.split("\t")[:2] for line in one.throng("group", "members", "team").stdout.splitlines()] == [
            ["alice", "member"],
            ["bob", "member"],
        ]
        shown = one.throng("group", "show", "team").stdout
        assert "members        2" in shown
        changed = one.throng("group", "set", "team", "--send-interval-ms", "30000", "--over-budget", "sample").stdout
        assert "send interval  30000 ms" in changed
        assert "budget         20 messages/s, above it a random share is let in" in changed
        refused = one.throng("group", "create", "team", check=False)
        assert refused.returncode == 1
        assert "GROUP_EXISTS" in refused.stderr
        missing = one.throng("group", "show", "nobody", check=False)
        assert "GROUP_NOT_FOUND" in missing.stderr
        assert "Traceback" not in refused.stderr + missing.stderr
    assert stopped.throng("group", "send", "team", "hi", "--user", "alice").stdout == "team 1\n"


def test_a_missing_folder_is_named(tmp_path: pathlib.Path) -> None:
    done = run("group", "show", "lobby", "--data-dir", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert "nowhere" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (["--max-connections", "many"], {}, "edge.max_connections"),
        ([], {"THRONG_EDGE_NONSENSE": "1"}, "THRONG_EDGE_NONSENSE"),
    ],
)
def test_a_wrong_setting_is_named_in_one_sentence(arguments: list[str], environment: dict[str, str], named: str) -> None:
    done = run("edge", *arguments, environment=environment)
    assert done.returncode == 2
    assert named in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_unknown_setting_in_a_file_is_named(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "throng.toml"
    file.write_text("[router]\nnonsense = 1\n")
    done = run("router", "--config", str(file))
    assert done.returncode == 2
    assert "router.nonsense" in done.stderr


def test_migrate_is_safe_to_repeat(data_dir: pathlib.Path) -> None:
    for _ in range(2):
        done = run("migrate", "--data-dir", str(data_dir))
        assert done.returncode == 0, done.stderr
        assert "group.db: at migration" in done.stdout


def test_a_wrong_ttl_is_refused(data_dir: pathlib.Path) -> None:
    done = run("token", "--user", "alice", "--ttl", "soon", "--data-dir", str(data_dir))
    assert done.returncode == 2
    assert "such as 90, 15m" in done.stderr
