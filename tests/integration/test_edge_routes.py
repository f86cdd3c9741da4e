"""Route reports of an edge to a real gRPC router (fake inside): snapshot, deltas, digest, heartbeat, reconnect."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence

import pytest
from edge_neighbours import DEADLINE_SECONDS, FakeRouter, Neighbours

from edge.adapters.route_reporter import EdgeIdentity, LoadSample, ReportPace, RouteReporter
from edge.adapters.route_table import group_hash
from throng.domain.ids import GroupId
from throng.runtime.aio_thread import AioThread

IDENTITY = EdgeIdentity("edge-1", 42, "127.0.0.1:1", "ws://127.0.0.1:2", 5)
PACE = ReportPace(
    load_seconds=0.05,
    digest_seconds=0.1,
    silence_seconds=0.6,
    backoff_base_seconds=0.02,
    backoff_max_seconds=0.05,
    applied_gap_seconds=0.0,
)


class Reporting:
    """A reporter in a loop of its own."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.applied: queue.Queue[Sequence[GroupId] | None] = queue.Queue()
        self.draining = False
        self._aio = AioThread()
        self._aio.start()
        self.reporter = self._aio.run(self._make(addresses), 5)

    async def _make(self, addresses: Sequence[str]) -> RouteReporter:
        reporter = RouteReporter(
            addresses,
            IDENTITY,
            load=lambda: LoadSample(3, 0.5, 12, self.draining),
            on_applied=self.applied.put,
            pace=PACE,
        )
        reporter.start()
        return reporter

    def report(self, **counts: int) -> None:
        changes = [(GroupId(group), count) for group, count in counts.items()]
        self._aio.loop.call_soon_threadsafe(self.reporter.report, changes)

    def wait_applied(self) -> Sequence[GroupId] | None:
        """Which groups routes came to stand for; None: all."""
        return self.applied.get(timeout=DEADLINE_SECONDS)

    def close(self) -> None:
        self._aio.run(self.reporter.stop(), 5)
        self._aio.run(self.reporter.stop(), 5)
        self._aio.stop()


@pytest.fixture
def neighbours() -> Iterator[Neighbours]:
    neighbours = Neighbours()
    neighbours.start()
    yield neighbours
    neighbours.stop()


@pytest.fixture
def reporting(neighbours: Neighbours) -> Iterator[Reporting]:
    reporting = Reporting([neighbours.address])
    yield reporting
    reporting.close()


def test_identity_and_snapshot_come_first(neighbours: Neighbours, reporting: Reporting) -> None:
    reporting.wait_applied()
    router = neighbours.router
    assert router.snapshots == 1
    identity = router.identities[0]
    assert (identity.edge_id, identity.incarnation, identity.internal_address) == ("edge-1", 42, "127.0.0.1:1")
    assert (identity.public_url, identity.weight) == ("ws://127.0.0.1:2", 5)
    router.wait_for(lambda: router.loads)
    load = router.loads[0]
    assert (load.connections, load.cpu_share, load.fanout_lag_ms, load.draining) == (3, 0.5, 12, False)


def test_changes_are_told_and_a_gained_group_is_announced(neighbours: Neighbours, reporting: Reporting) -> None:
    router = neighbours.router
    assert reporting.wait_applied() is None
    reporting.report(lobby=1, team=2)
    router.wait_for(lambda: router.routes == {"lobby": 1, "team": 2})
    assert reporting.wait_applied() == ["lobby", "team"]
    reporting.report(lobby=0)
    router.wait_for(lambda: router.routes.get("lobby") == 0)


def test_the_digest_is_of_what_is_held(neighbours: Neighbours, reporting: Reporting) -> None:
    router = neighbours.router
    reporting.report(lobby=1, team=2, gone=1)
    reporting.report(gone=0)
    expected = group_hash("lobby") ^ group_hash("team")
    router.wait_for(lambda: any(digest.group_count == 2 and digest.xor_hash == expected for digest in router.digests))


def test_a_router_that_forgot_gets_a_snapshot(neighbours: Neighbours, reporting: Reporting) -> None:
    router = neighbours.router
    reporting.report(lobby=4)
    router.wait_for(lambda: router.routes == {"lobby": 4})
    with router.changed:
        router.routes = {}
        router.want_snapshot = True
    router.wait_for(lambda: router.snapshots >= 2 and router.routes == {"lobby": 4})


def test_a_restarted_router_hears_everything_again(neighbours: Neighbours, reporting: Reporting) -> None:
    router = neighbours.router
    reporting.report(lobby=4)
    router.wait_for(lambda: router.routes == {"lobby": 4})
    neighbours.stop()
    with router.changed:
        router.routes = {}
    while not reporting.applied.empty():
        reporting.applied.get()
    neighbours.start()
    router.wait_for(lambda: len(router.identities) >= 2 and router.routes == {"lobby": 4})
    assert reporting.wait_applied() is None


def test_a_router_that_is_away_or_says_nothing_is_passed_over(neighbours: Neighbours) -> None:
    """Of three addresses one is closed, one takes reports and applies none; the reporter ends at the third."""

    class MuteRouter(FakeRouter):
        def ReportRoutes(self, request_iterator: object, context: object) -> Iterator[object]:  # noqa: N802
            yield from ()
            for _ in request_iterator:  # type: ignore[attr-defined]
                pass

    mute = Neighbours()
    mute.router = MuteRouter()
    mute.start()
    reporting = Reporting(["127.0.0.1:1", mute.address, neighbours.address])
    try:
        reporting.wait_applied()
        assert neighbours.router.snapshots >= 1
    finally:
        reporting.close()
        mute.stop()


def test_draining_is_told_at_once(neighbours: Neighbours, reporting: Reporting) -> None:
    router = neighbours.router
    reporting.wait_applied()
    reporting.draining = True
    router.wait_for(lambda: router.loads and router.loads[-1].draining)
