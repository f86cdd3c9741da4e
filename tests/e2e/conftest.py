"""A running `throng up`, shared by the tests of one file; each test uses groups and users of its own."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest
from frame_client import FrameClient
from throng_process import ThrongProcess


@pytest.fixture(scope="module")
def throng(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThrongProcess]:
    """One `throng up` without further edges."""
    process = ThrongProcess(tmp_path_factory.mktemp("throng") / "data").start()
    yield process
    process.kill()


@pytest.fixture
def connect(throng: ThrongProcess) -> Iterator[Callable[..., FrameClient]]:
    """Connects as a user; connections are dropped after the test."""
    clients: list[FrameClient] = []

    def make(user: str, **options: object) -> FrameClient:
        client = FrameClient(throng.address, throng.token(user), **options)  # type: ignore[arg-type]
        clients.append(client)
        client.welcome = client.next()["welcome"]  # type: ignore[attr-defined]
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def data_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    """A data folder of the test's own."""
    return tmp_path / "data"
