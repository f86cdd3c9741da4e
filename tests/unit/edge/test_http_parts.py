"""Parts of the edge's HTTP that need no server: names, page files, budget, readiness."""

from __future__ import annotations

import gzip
import pathlib
import random

import pytest

from edge.http.handshake_budget import HandshakeBudget
from edge.http.login import clean_name, user_id_for
from edge.http.readiness import Readiness
from edge.http.site import FOREVER, REVALIDATE, load_site
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import is_identifier
from throng.testing.fake_clock import FakeClock


@pytest.mark.parametrize("name", ["Alice", "小红", "Ünïcödé", "x" * 100, "🦆", "a  b", "..", "<script>"])
def test_every_name_becomes_an_identifier(name: str) -> None:
    user_id = user_id_for(clean_name(name))
    assert is_identifier(user_id)
    assert user_id == user_id_for(clean_name(name))


def test_names_that_differ_are_different_users() -> None:
    assert len({user_id_for(clean_name(name)) for name in ("小红", "小明", "Alice", "Alice B", "alice-b")}) == 5


def test_case_and_space_around_a_name_do_not_matter() -> None:
    assert user_id_for(clean_name("  Alice ")) == user_id_for(clean_name("alice"))


def test_names_are_cleaned() -> None:
    assert clean_name(" a\u0000\u202eb \n c ") == "ab c"


@pytest.mark.parametrize("name", ["", "   ", "\u200b", "n" * 101, None, 7, ["a"]])
def test_bad_names_are_refused(name: object) -> None:
    with pytest.raises(ThrongError) as caught:
        clean_name(name)
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT


def test_without_a_built_page_there_is_one_that_says_how(tmp_path: pathlib.Path) -> None:
    site = load_site(tmp_path / "absent")
    assert not site.built
    assert b"make web" in site.index.body


def test_the_built_page_is_read_once_and_hashed_files_are_kept_for_ever(tmp_path: pathlib.Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "favicon.svg").write_text("<svg/>")
    script = "let a = 1;\n" * 200
    (tmp_path / "assets" / "index-B3xYz_9a.js").write_text(script)
    (tmp_path / "secret").symlink_to("/etc/hostname")
    site = load_site(tmp_path)
    found = site.find("assets/index-B3xYz_9a.js")
    assert site.built
    assert found is not None
    assert found.cache_control == FOREVER
    assert found.content_type == "application/javascript; charset=utf-8"
    assert found.compressed is not None
    assert gzip.decompress(found.compressed).decode() == script
    assert site.index.cache_control == REVALIDATE
    assert site.find("favicon.svg").content_type == "image/svg+xml"  # type: ignore[union-attr]
    assert site.find("secret") is None
    assert site.find("../settings.py") is None


def test_the_budget_admits_so_many_per_second() -> None:
    clock = FakeClock()
    budget = HandshakeBudget(3, clock=clock)
    assert [budget.take() for _ in range(4)] == [True, True, True, False]
    clock.advance(0.5)
    assert [budget.take() for _ in range(2)] == [True, False]
    clock.advance(60)
    assert [budget.take() for _ in range(4)] == [True, True, True, False]


def test_a_late_hub_admits_less_and_recovers() -> None:
    """Handshakes must not starve those who are in."""
    clock, late = FakeClock(), [0.2]
    budget = HandshakeBudget(1_000, clock=clock, lateness=lambda: late[0])

    def admitted_in_a_second() -> int:
        count = 0
        for _ in range(100):
            clock.advance(0.01)
            while budget.take():
                count += 1
        return count

    admitted_in_a_second()
    assert 240 <= admitted_in_a_second() <= 260  # down to a quarter, not to nothing
    late[0] = 0.0
    for _ in range(2):
        admitted_in_a_second()
    assert 990 <= admitted_in_a_second() <= 1_010


def test_refused_clients_are_spread_over_the_time_that_all_of_them_need() -> None:
    clock = FakeClock()
    budget = HandshakeBudget(100, clock=clock, random_source=random.Random(7))
    while budget.take():
        pass
    assert budget.retry_after_seconds() == 1  # a lone one is not sent far away
    told = []
    for _ in range(1_000):
        assert not budget.take()
        told.append(budget.retry_after_seconds())
    assert min(told) >= 1
    assert 9 <= max(told) <= 11
    late = told[500:]
    assert max(late.count(second) for second in set(late)) < 120  # of 500, over ten seconds
    clock.advance(60)
    assert budget.take()
    clock.advance(1.5)
    budget.take()
    assert budget.retry_after_seconds() == 1


def test_no_budget_is_no_limit() -> None:
    budget = HandshakeBudget(0, clock=FakeClock())
    assert all(budget.take() for _ in range(1000))


def test_readiness_needs_all_three() -> None:
    readiness = Readiness()
    assert not readiness.ready
    assert not readiness.admits
    readiness.routes_applied = True
    assert not readiness.ready
    assert readiness.admits
    readiness.upstream_reachable = True
    assert readiness.ready
    readiness.draining = True
    assert not readiness.ready
    assert not readiness.admits
