"""SQLite stores under `kill -9`: whatever a process reported as committed is there, once, without holes (I1, I2, I3, I10)."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from group_svc.adapters.sqlite_message_store import SQLiteMessageStore
from throng.adapters.sqlite_database import SQLiteDatabase
from throng.domain.ids import GroupId

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE_SECONDS = 30.0


def run_and_kill(folder: pathlib.Path, number: int, *, after_lines: int) -> list[tuple[str, int, str]]:
    """Starts a committing process, kills it after so many lines, and returns all that it reported."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE), str(HERE.parent / "support")])}
    command = [sys.executable, str(HERE / "committing_child.py"), str(folder), str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(after_lines)]
        child.kill()
        lines += child.stdout.readlines()
        child.wait(PATIENCE_SECONDS)
    reported = [line.split() for line in lines if line.endswith("\n")]
    return [(group, int(seq), client_msg_id) for group, seq, client_msg_id in reported if len(client_msg_id) == 36]


@pytest.mark.parametrize("after_lines", [1, 130, 517])
def test_what_was_reported_is_there_after_kill_9_i3(tmp_path, after_lines):
    reported: set[tuple[str, int, str]] = set()
    for life in range(3):
        reported |= set(run_and_kill(tmp_path, 1_000_000 * life, after_lines=after_lines))
    assert len(reported) >= after_lines
    database = SQLiteDatabase(tmp_path / "group.db", migrations_package="group_svc.adapters.migrations_sqlite")
    try:
        store = SQLiteMessageStore(database)
        found: set[tuple[str, int, str]] = set()
        for group in ("g1", "g2"):
            page = store.read_after(GroupId(group), after_seq=0, up_to_seq=0, limit=1_000_000)
            assert [message.seq for message in page.messages] == list(range(1, page.head_seq + 1))
            found |= {(group, message.seq, message.client_msg_id) for message in page.messages}
            events = {message.seq for message in page.messages if message.kind.name == "RECALL"}
            assert {message.recalled_by_seq for message in page.messages} - {0} == events
            assert all(bool(message.body) is (message.recalled_by_seq == 0) for message in page.messages)
    finally:
        database.close()
    assert reported <= found
    assert len({client_msg_id for _, _, client_msg_id in found}) == len(found)
