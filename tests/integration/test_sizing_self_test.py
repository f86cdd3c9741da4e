"""The self-test of `throng plan --measure`: a few sockets, another process that reads them, and no process left behind."""

from __future__ import annotations

import pathlib

from throng.sizing.self_test import self_test


def drains() -> list[str]:
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return [line for line in found if "throng.sizing.drain" in line and " 21 " in line + " "]


def test_it_measures_and_leaves_nothing_behind() -> None:
    found = {cost.name: cost.value for cost in self_test(sockets=21, seconds=0.05)}
    assert found["sends_per_cpu_second"] > 100
    assert found["send_us_per_kb"] >= 0
    assert drains() == []
