"""`throng bench` interrupted while it waits for a group service that says nothing."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import threading

import pytest

from throng.bench import BenchPlan, BenchRun, Verdict
from throng.cli.bench import _watched


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_before_anything_was_sent(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], number: signal.Signals) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0" * 64)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        plan = BenchPlan(urls=("ws://127.0.0.1:1",), group_address=address, jwt_secret_file=secret)

        def interrupt() -> None:
            connection, _ = silent.accept()  # the call is under way, and is never answered
            os.kill(os.getpid(), number)
            ended.wait(60)
            connection.close()

        ended = threading.Event()
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(SystemExit) as exit_code:
            _watched(BenchRun(plan), quiet=True)
        ended.set()
        thread.join(10)
    assert exit_code.value.code == Verdict.ABORTED.exit_code
    assert "before anything was sent" in capsys.readouterr().err
