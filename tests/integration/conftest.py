"""What several integration tests need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from throng.runtime.aio_thread import AioThread


@pytest.fixture
def aio() -> Iterator[AioThread]:
    """A loop in a thread of its own; files whose connections live longer have one for all of their tests."""
    thread = AioThread()
    thread.start()
    yield thread
    thread.stop()
