"""Finds and opens the compiled loop; the hub calls what comes out of it (hop 7)."""

from __future__ import annotations

import ctypes
import hashlib
import os
import pathlib
import platform
import sys
from array import array
from collections.abc import Sequence

SOURCE = pathlib.Path(__file__).with_name("fan_out.c")
REMEDY = "run python -m edge.native.build"
_TROUBLES_PER_CALL = 256


class NativeMissingError(Exception):
    """There is no library, or it cannot be used; the text says what to do."""


class NativeBulkSend:
    """`edge.core.bulk_send.BulkSend` by the compiled loop. Not thread-safe: one for each hub; and one of a process with `ring`."""

    def __init__(self, path: pathlib.Path, *, ring: bool = False) -> None:
        """Opens a library; with `ring` it sends by io_uring, many sends per system call.

        Raises:
            NativeMissingError: it cannot be loaded, or the kernel refuses io_uring.
        """
        try:
            library = ctypes.CDLL(str(path))
            self._function = library.throng_ring_fan_out if ring else library.throng_fan_out
            refused = library.throng_ring_open() if ring else 0
        except (OSError, AttributeError) as error:
            raise NativeMissingError(f"the native fan-out cannot be loaded ({error}): {REMEDY}") from error
        if refused:
            raise NativeMissingError(f"io_uring is refused here ({os.strerror(refused)}): set native_fan_out to on or auto")
        self._function.restype = ctypes.c_int
        self._function.argtypes = [
            ctypes.c_void_p,
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_int64,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_int,
            ctypes.c_void_p,
        ]
        self._places = (ctypes.c_int * _TROUBLES_PER_CALL)()
        self._results = (ctypes.c_int * _TROUBLES_PER_CALL)()
        self._troubles = ctypes.c_int()
        self._troubles_pointer = ctypes.byref(self._troubles)

    def __call__(
        self, descriptors: array[int], count: int, frame: bytes, limit_seconds: float
    ) -> tuple[int, Sequence[tuple[int, int]]]:
        """Sends; see `BulkSend`."""
        address, length = descriptors.buffer_info()
        place = self._function(
            address,
            min(count, length),
            frame,
            len(frame),
            int(limit_seconds * 1e9),
            self._places,
            self._results,
            _TROUBLES_PER_CALL,
            self._troubles_pointer,
        )
        noted = self._troubles.value
        return place, list(zip(self._places[:noted], self._results[:noted], strict=True)) if noted else ()


def library_name() -> str:
    """What the compiled form of this very source is called on this machine."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    return f"fan_out-{digest}-{sys.platform}-{platform.machine()}.so"


def folders() -> tuple[pathlib.Path, ...]:
    """Where a library may lie: beside the source, or in the user's cache."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    return SOURCE.parent, cache / "throng"


def find_library() -> pathlib.Path | None:
    """The library that was compiled from this source, if there is one that this user or root owns."""
    for folder in folders():
        path = folder / library_name()
        try:
            owner = path.stat().st_uid
        except OSError:
            continue
        if owner in (0, os.getuid()):
            return path
    return None


def choose_bulk_send(wanted: str) -> NativeBulkSend | None:
    """What `native_fan_out` asks for: `off` nothing, `auto` what can be had, `on` the library, `ring`
    the library with io_uring.

    Raises:
        NativeMissingError: it is `on` or `ring` and there is none that works.
    """
    if wanted == "off":
        return None
    path = find_library()
    try:
        if path is None:
            raise NativeMissingError(f"the native fan-out is not compiled: {REMEDY}")
        return NativeBulkSend(path, ring=wanted == "ring")
    except NativeMissingError:
        if wanted == "auto":
            return None
        raise
