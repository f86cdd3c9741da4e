"""Two processes that write the same groups in MySQL at the same time, each killed with -9 (I1, I2, I3, I10)."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys

from mysql_stage import access_by, stage
from mysql_tables import empty_tables

from throng.domain.ids import GroupId

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE_SECONDS = 30.0


@contextlib.contextmanager
def committing(where: str, number: int):
    """A process that commits without end; killed at the end of the block."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE), str(HERE.parent / "support")])}
    command = [sys.executable, str(HERE / "committing_child.py"), where, str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def reported(child: subprocess.Popen, lines: list[str]) -> set[tuple[str, int, str]]:
    assert child.stdout is not None
    rest = [line for line in child.stdout.readlines() if line.endswith("\n")]
    child.wait(PATIENCE_SECONDS)
    return {(group, int(seq), client_msg_id) for group, seq, client_msg_id in map(str.split, lines + rest)}


def test_two_processes_share_groups_and_die_i1_i2_i3(mariadb_server):
    acked: list[tuple[str, int, str]] = []
    with empty_tables(mariadb_server) as name:
        where = f"mysql://{name}@127.0.0.1:{mariadb_server.port}/{name}"
        for life in range(2):
            first_number = 10_000_000 * (1 + life)
            with committing(where, first_number) as one, committing(where, first_number + 5_000_000) as two:
                # Both are at work before either dies.
                lines = {child: [child.stdout.readline() for _ in range(300)] for child in (one, two)}
                one.kill()
                lines[two] += [two.stdout.readline() for _ in range(200)]
                two.kill()
                for child in (one, two):
                    acked += reported(child, lines[child])
        assert len(acked) >= 1_400
        # A second recall of one message is ACKed at the first one's place.
        assert len({(group, seq) for group, seq, _ in acked}) == len(set(acked)), "one seq was given twice"
        with stage(access_by(name, mariadb_server.port, timeout_seconds=10.0)) as opened:
            found: set[tuple[str, int, str]] = set()
            for group in ("g1", "g2"):
                page = opened.messages.read_after(GroupId(group), after_seq=0, up_to_seq=0, limit=1_000_000)
                assert [message.seq for message in page.messages] == list(range(1, page.head_seq + 1))
                found |= {(group, message.seq, message.client_msg_id) for message in page.messages}
                assert all(bool(message.body) is (message.recalled_by_seq == 0) for message in page.messages)
    assert set(acked) <= found
    assert len({client_msg_id for _, _, client_msg_id in found}) == len(found)
