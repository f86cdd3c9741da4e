"""MySQL stores while the server dies, the network is cut, hangs or is slow: nothing ACKed is lost, nothing is there twice (I1, I2, I3, I10)."""

from __future__ import annotations

import threading
import time

import pytest
from conformance_builders import candidate, seq_of, submission
from mysql_stage import Committers, access_by, check_history, error_of, patiently, stage, wait_for
from mysql_tables import empty_tables

from throng.domain.errors import ErrorCode
from throng.domain.group import Group
from throng.domain.ids import GroupId
from throng.testing.servers import FaultProxy

G1 = GroupId("g1")


@pytest.fixture
def name(mariadb_server):
    with empty_tables(mariadb_server) as database:
        yield database


@pytest.fixture
def proxy(mariadb_server):
    with FaultProxy(("127.0.0.1", mariadb_server.port)) as running:
        yield running


def commit_one(opened, sent=None) -> int:
    return seq_of(opened.messages.commit([candidate(sent or submission())], now_ms=1)[0])


def test_the_server_is_killed_in_the_midst_of_batches_and_started_again_i1_i2_i3(mariadb_server, name):
    with stage(access_by(name, mariadb_server.port)) as opened:
        with Committers(opened) as committers:
            for _ in range(2):
                committers.wait_for_more(400)
                mariadb_server.kill()
                mariadb_server.start()
            committers.wait_for_more(400)
        assert committers.refusals > 0
        assert check_history(opened, committers) == len(committers.acked) >= 1_200


def test_connections_are_reset_again_and_again_i1_i2_i3(name, proxy):
    with stage(access_by(name, proxy.port)) as opened:
        with Committers(opened) as committers:
            for _ in range(8):
                committers.wait_for_more(200)
                proxy.reset()
            proxy.cut()
            wait_for(lambda: committers.refusals > 3)
            proxy.restore()
            committers.wait_for_more(200)
        assert opened.events.lost["lost"] > 0
        assert check_history(opened, committers) == len(committers.acked)


def test_half_open_connections_end_in_time_and_lose_nothing_i1_i2_i3(name, proxy):
    with stage(access_by(name, proxy.port, timeout_seconds=0.5)) as opened:
        with Committers(opened) as committers:
            for _ in range(2):
                committers.wait_for_more(200)
                before = committers.refusals
                proxy.stall()
                wait_for(lambda before=before: committers.refusals > before + 3)
                proxy.restore()
            committers.wait_for_more(200)
        # Waiting for a connection, connecting, one statement: each at most half a second, or one that began late.
        assert committers.slowest_seconds < 4.0
        assert check_history(opened, committers) == len(committers.acked)


def test_a_call_on_a_half_open_connection_is_refused_in_time(name, proxy):
    with stage(access_by(name, proxy.port, timeout_seconds=0.5)) as opened:
        opened.members.create_group(Group(G1, "One"), owner_id=None)
        proxy.stall()
        for call in (lambda: opened.members.get_group(G1), lambda: commit_one(opened)):
            started = time.monotonic()
            assert error_of(call).code is ErrorCode.UNAVAILABLE
            assert time.monotonic() - started < 3.0
        proxy.restore()
        patiently(lambda: commit_one(opened))
        assert opened.members.get_group(G1).name == "One"


def test_slow_answers_are_waited_for(name, proxy):
    with stage(access_by(name, proxy.port)) as opened:
        opened.members.create_group(Group(G1, "One"), owner_id=None)
        proxy.delay(0.05)
        assert [commit_one(opened) for _ in range(3)] == [1, 2, 3]
        assert opened.events.lost.total() == 0


def test_a_paused_server_is_refused_in_time_and_goes_on(mariadb_server, name):
    with stage(access_by(name, mariadb_server.port, timeout_seconds=0.5)) as opened:
        opened.members.create_group(Group(G1, "One"), owner_id=None)
        sent = submission()
        with mariadb_server.paused():
            assert error_of(lambda: commit_one(opened, sent)).code is ErrorCode.UNAVAILABLE
        assert patiently(lambda: commit_one(opened, sent)) == 1
        assert commit_one(opened) == 2


def test_a_commit_of_unknown_outcome_is_not_repeated_here_and_found_by_the_caller_i2(name, proxy):
    stalling = threading.Event()

    def observe(statement: str) -> None:
        if statement == "COMMIT" and stalling.is_set():
            stalling.clear()
            proxy.stall()

    with stage(access_by(name, proxy.port, timeout_seconds=0.5), observe) as opened:
        opened.members.create_group(Group(G1, "One"), owner_id=None)
        sent = submission()
        stalling.set()
        error = error_of(lambda: commit_one(opened, sent))
        assert error.code is ErrorCode.UNAVAILABLE
        assert "outcome is not known" in error.text
        assert opened.events.retried.total() == 0
        # What was on its way arrives now: the server commits what the client gave up.
        proxy.restore()
        assert patiently(lambda: commit_one(opened, sent)) == 1
        assert commit_one(opened) == 2


def test_a_restart_between_two_calls_is_not_seen_by_callers(mariadb_server, name):
    with stage(access_by(name, mariadb_server.port)) as opened:
        opened.members.create_group(Group(G1, "One"), owner_id=None)
        mariadb_server.stop()
        mariadb_server.start()
        assert opened.members.get_group(G1).name == "One"
        assert commit_one(opened) == 1


def test_a_transaction_whose_client_gave_up_does_not_keep_its_locks(mariadb_server, name):
    """The server does not notice that nobody waits for it any more; the next connection has it end what is left."""
    with stage(access_by(name, mariadb_server.port)) as opened:
        opened.members.create_group(Group(G1, "One"), owner_id=None)
        tries: list[float] = []

        def work(statements) -> None:
            tries.append(time.monotonic())
            statements.rows("SELECT head_seq FROM chat_group WHERE group_id = 'g1' FOR UPDATE")
            if len(tries) == 1:
                statements.rows("SELECT SLEEP(30)")

        error = error_of(lambda: opened.database.write(work))
        assert error.code is ErrorCode.UNAVAILABLE
        assert "no answer in time" in error.text
        started = time.monotonic()
        assert commit_one(opened) == 1
        assert time.monotonic() - started < 1.0
