"""The compiled loop: what it says of each socket, how it is found, and what is told when it is not there."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import shutil
import socket
from array import array
from collections.abc import Iterator

import pytest
from backends import backend_missing

from edge.native import build as build_module
from edge.native import library
from edge.native.build import BuildError, build, main
from edge.native.library import NativeBulkSend, NativeMissingError, choose_bulk_send, library_name


@pytest.fixture(params=["loop", "ring"])
def send(request: pytest.FixtureRequest, compiled: pathlib.Path) -> NativeBulkSend:
    try:
        return NativeBulkSend(compiled, ring=request.param == "ring")
    except NativeMissingError as error:
        backend_missing("io_uring", str(error))


def fill(sock: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(b"f" * 65_536)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    if shutil.which("cc") is None:
        backend_missing("cc", "apt-get install gcc libc6-dev")
    return build(tmp_path_factory.mktemp("native"))


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    made = [socket.socketpair() for _ in range(140)]
    for near, _ in made:
        near.setblocking(False)
    yield made
    for near, far in made:
        near.close()
        far.close()


def test_everybody_gets_the_frame_and_who_did_not_is_told(
    send: NativeBulkSend, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    descriptors = array("i", [near.fileno() for near, _ in pairs])
    full, gone, skipped = 3, 7, 11
    fill(pairs[full][0])
    pairs[gone][1].close()
    descriptors[skipped] = -1
    place, troubles = send(descriptors, 30, b"frame", 60.0)
    assert place == 0
    assert sorted(troubles) == [(full, -errno.EAGAIN), (gone, -errno.EPIPE), (skipped, -errno.EAGAIN)]
    served = [i for i in range(30) if i not in (full, gone, skipped)]
    assert all(pairs[i][1].recv(100) == b"frame" for i in served)
    for near, _ in pairs[30:]:
        assert near.fileno() in descriptors
    for _, far in pairs[30:]:
        far.setblocking(False)
        with pytest.raises(BlockingIOError):
            far.recv(1)


def test_a_part_that_was_taken_is_told_in_bytes(send: NativeBulkSend) -> None:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        frame = b"x" * 4_000_000
        place, ((trouble, taken),) = send(array("i", [near.fileno()]), 1, frame, 1.0)
        assert (place, trouble) == (0, 0)
        assert 0 < taken < len(frame)
        assert len(far.recv(len(frame), socket.MSG_WAITALL | socket.MSG_DONTWAIT)) > 0


def test_a_call_ends_when_its_time_is_over_and_goes_on_in_the_next(
    send: NativeBulkSend, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    descriptors = array("i", [near.fileno() for near, _ in pairs])
    left, calls = 140, 0
    while left:
        before, (left, _) = left, send(descriptors, left, b"1", 0.0)
        assert left < before
        calls += 1
    assert calls > 1
    assert all(far.recv(10) == b"1" for _, far in pairs)


def test_many_troubles_end_a_call_and_none_is_lost(send: NativeBulkSend) -> None:
    descriptors = array("i", [-1] * 1_000)
    places: list[int] = []
    left = 1_000
    while left:
        left, troubles = send(descriptors, left, b"x", 60.0)
        assert troubles
        places += [place for place, _ in troubles]
    assert sorted(places) == list(range(1_000))


def test_the_setting_decides(compiled: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "folders", lambda: (tmp_path,))
    assert choose_bulk_send("auto") is None
    with pytest.raises(NativeMissingError, match=r"python -m edge\.native\.build"):
        choose_bulk_send("on")
    (tmp_path / library_name()).write_bytes(b"no library")
    assert choose_bulk_send("auto") is None
    with pytest.raises(NativeMissingError, match="cannot be loaded"):
        choose_bulk_send("on")
    (tmp_path / library_name()).unlink()
    shutil.copy(compiled, tmp_path / library_name())
    assert isinstance(choose_bulk_send("on"), NativeBulkSend)
    assert isinstance(choose_bulk_send("auto"), NativeBulkSend)
    assert choose_bulk_send("off") is None


def test_a_kernel_without_rings_is_told(compiled: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        throng_fan_out = throng_ring_fan_out = None

        def throng_ring_open(self) -> int:
            return errno.EPERM

    monkeypatch.setattr(library.ctypes, "CDLL", lambda path: Refusing())
    with pytest.raises(NativeMissingError, match="io_uring is refused here"):
        NativeBulkSend(compiled, ring=True)


def test_a_strangers_library_is_not_opened(compiled: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "folders", lambda: (compiled.parent,))
    owner = compiled.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner)
    assert library.find_library() == compiled
    if owner == 0:
        os.chown(compiled, 12_345, -1)
    monkeypatch.setattr(os, "getuid", lambda: 54_321)
    try:
        assert library.find_library() is None
    finally:
        if owner == 0:
            os.chown(compiled, 0, -1)


def test_the_command_says_where_it_is_or_why_not(
    compiled: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "new")]) == 0
    assert pathlib.Path(capsys.readouterr().out.strip()) == tmp_path / "new" / library_name()
    monkeypatch.setattr(build_module, "_COMPILERS", ("no-such-compiler",))
    with pytest.raises(BuildError, match="apt-get install"):
        build(tmp_path)
    assert main([]) == 1
    assert "no C compiler" in capsys.readouterr().err
