"""A word list that changes while the service runs: taken whole or not at all."""

from __future__ import annotations

import os
import pathlib
import threading

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from group_svc.adapters import word_list_safety
from group_svc.adapters.watched_word_list import WatchedWordList
from group_svc.adapters.word_list_safety import WordListSafety
from group_svc.metrics import GroupMetrics
from throng.domain.errors import ThrongError


class Watched:
    """A list of one file that a test changes, and what metrics say."""

    def __init__(self, folder: pathlib.Path, text: str = "bad\n") -> None:
        self.file = folder / "words.txt"
        self.file.write_text(text, encoding="utf-8")
        self.registry = CollectorRegistry()
        self.words = WatchedWordList(self.file, GroupMetrics(self.registry), check_seconds=0.01)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"throng_group_word_list_{name}", labels)

    def replace(self, content: bytes) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_bytes(content)
        os.replace(fresh, self.file)


def test_a_changed_file_is_taken_once_it_stands_still(tmp_path: pathlib.Path) -> None:
    watched = Watched(tmp_path)
    assert watched.metric("words") == 1
    watched.replace(b"worse\nworst\n")
    watched.words.check()
    assert watched.words.blocks("bad"), "it may still be written"
    watched.words.check()
    assert not watched.words.blocks("bad")
    assert watched.words.blocks("the WORST of all")
    assert watched.metric("words") == 2
    watched.words.check()
    watched.words.check()
    assert watched.metric("reloads_total", result="loaded") == 1


@pytest.mark.parametrize("content", [b"\xff\xfe broken", b"x" * 101])
def test_a_bad_file_changes_nothing_and_is_told_once(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(word_list_safety, "MAX_FILE_BYTES", 100)
    watched = Watched(tmp_path)
    with capture_logs() as logs:
        watched.replace(content)
        for _ in range(4):
            watched.words.check()
    assert watched.words.blocks("bad")
    assert [log["event"] for log in logs] == ["word_list_not_reloaded"]
    assert watched.metric("reloads_total", result="failed") == 1
    watched.replace(b"worse\n")
    watched.words.check()
    watched.words.check()
    assert watched.words.blocks("worse")


def test_a_file_that_is_gone_changes_nothing(tmp_path: pathlib.Path) -> None:
    watched = Watched(tmp_path)
    watched.file.unlink()
    watched.words.check()
    watched.words.check()
    assert watched.words.blocks("bad")
    assert watched.metric("reloads_total", result="failed") == 1


def test_the_thread_watches_until_it_is_stopped(tmp_path: pathlib.Path) -> None:
    watched = Watched(tmp_path)
    watched.words.start()
    watched.replace(b"worse\n")
    changed = threading.Event()
    for _ in range(1_000):
        if watched.words.blocks("worse"):
            break
        changed.wait(0.01)
    assert watched.words.blocks("worse")
    watched.words.stop()
    watched.words.stop()


def test_a_file_that_is_not_there_at_start_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ThrongError, match="cannot be read"):
        WatchedWordList(tmp_path / "none", GroupMetrics(CollectorRegistry()), check_seconds=0)


def test_a_long_list_is_made_in_parts_with_rests_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_list_safety, "_PART_WORDS", 10)
    monkeypatch.setattr(word_list_safety, "_STEP_WORDS", 7)
    rests: list[int] = []
    safety = WordListSafety((f"word{number}." for number in range(35)), rest=lambda: rests.append(1))
    assert safety.words == 35
    assert len(rests) == 5 + 3
    assert all(safety.blocks(f"x word{number}. x") for number in range(35))
    assert not safety.blocks("x word35. x")
