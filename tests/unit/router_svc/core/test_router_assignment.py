"""Assignment as it goes on: several routers, edges that report once a second, storms in between, edges that begin."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from router_svc.core.balancer import SmoothBalancer
from router_svc.core.recent_assignments import KEPT_SECONDS, RecentAssignments
from router_svc.core.weights import RAMP_SECONDS, effective_weights
from router_svc.ports import EdgeInfo, EdgeLoad, EdgeRecord
from throng.domain.ids import EdgeId
from throng.testing.fake_clock import FakeClock

A, B = EdgeId("a"), EdgeId("b")


def record(edge_id: EdgeId, connections: int = 0, *, incarnation: int = 1) -> EdgeRecord:
    return EdgeRecord(EdgeInfo(edge_id, incarnation, "a:1", "ws://a"), EdgeLoad(connections=connections), 1, 0, 9.0)


def test_an_assignment_waits_until_the_edge_reports_one_connection_more_or_ten_seconds() -> None:
    clock = FakeClock()
    recent = RecentAssignments(clock)
    for _ in range(5):
        recent.note(record(A, 100))
    assert recent.pending([record(A, 100)]) == {A: 5}
    assert recent.pending([record(A, 103)]) == {A: 2}
    assert recent.pending([record(A, 50)]) == {A: 2}  # others left
    clock.advance(3)
    recent.note(record(A, 50))
    clock.advance(KEPT_SECONDS - 3)
    assert recent.pending([record(A, 50)]) == {A: 1}
    assert recent.pending([record(A, 60)]) == {}


def test_a_new_life_begins_with_nothing_and_a_lost_edge_is_forgotten() -> None:
    recent = RecentAssignments(FakeClock())
    recent.note(record(A))
    recent.note(record(B))
    assert recent.pending([record(A, incarnation=2), record(B)]) == {B: 1}
    assert recent.pending([record(A, incarnation=2)]) == {}
    assert recent.pending([record(A, incarnation=2), record(B)]) == {}


@dataclass
class Edge:
    """One edge of the model: clients arrive at once, and are reported once a second."""

    connections: int
    since: float = -1_000.0
    reported: int = 0
    reported_at: float = 0.0


class World:
    """Several routers that know of edges what these last reported."""

    def __init__(self, edges: dict[EdgeId, Edge], *, routers: int) -> None:
        self.clock = FakeClock()
        self.edges = edges
        self.routers = [(SmoothBalancer(), RecentAssignments(self.clock)) for _ in range(routers)]
        self.report()

    def report(self) -> None:
        for edge in self.edges.values():
            edge.reported, edge.reported_at = edge.connections, self.clock.monotonic()

    def records(self) -> list[EdgeRecord]:
        return [
            EdgeRecord(
                EdgeInfo(edge_id, 1, "a:1", "ws://a"),
                EdgeLoad(connections=edge.reported),
                1,
                round((edge.reported_at + 10_000) * 1000),
                9.0,
                serving_since_ms=round((edge.since + 10_000) * 1000),
            )
            for edge_id, edge in sorted(self.edges.items())
        ]

    def come(self, clients: int) -> Counter[EdgeId]:
        """Clients ask one router after the other."""
        came: Counter[EdgeId] = Counter()
        records = self.records()
        for number in range(clients):
            balancer, recent = self.routers[number % len(self.routers)]
            chosen = balancer.choose(effective_weights(records, recent.pending(records)))
            assert chosen is not None
            recent.note(next(each for each in records if each.info.edge_id == chosen))
            self.edges[chosen].connections += 1
            came[chosen] += 1
        return came

    def second(self, clients: int) -> Counter[EdgeId]:
        self.clock.advance(1)
        came = self.come(clients)
        self.report()
        return came


@settings(max_examples=25, deadline=None)
@given(routers=st.integers(1, 4), old=st.integers(1, 5), held=st.integers(500, 9_000), rate=st.integers(50, 120))
def test_a_new_edge_fills_up_without_a_stampede(routers: int, old: int, held: int, rate: int) -> None:
    edges = {EdgeId(f"old-{number}"): Edge(held) for number in range(old)}
    world = World(edges, routers=routers)
    new = EdgeId("z-new")
    world.edges[new] = Edge(0, since=world.clock.monotonic())
    world.report()
    shares = [world.second(rate)[new] / rate for _ in range(40)]
    even = 1 / (old + 1)
    assert max(shares[:5]) <= 0.4  # at four times the neutral weight it would be four times its even share, or everybody
    assert max(shares[:10]) <= max(0.7, even * 2)
    assert sum(shares[25:]) / 15 > even * 0.9  # and it does fill


@settings(max_examples=25, deadline=None)
@given(routers=st.integers(1, 4), clients=st.integers(200, 1_000), lag=st.integers(1, 50))
def test_a_storm_between_two_reports_is_dealt_out_by_what_it_does_itself(routers: int, clients: int, lag: int) -> None:
    names = [EdgeId(f"e{number}") for number in range(3)]
    edges = dict(zip(names, (Edge(1_000), Edge(1_000), Edge(1_000 - lag * 10)), strict=True))
    world = World(edges, routers=routers)
    came = world.come(clients)
    spread = max(edge.connections for edge in edges.values()) - min(edge.connections for edge in edges.values())
    assert spread <= lag * 10 + 2 * routers  # no further apart than before
    assert min(came.values()) > 0


def test_without_counting_its_own_the_storm_would_go_to_the_empty_edge() -> None:
    world = World({A: Edge(2_000), B: Edge(0)}, routers=1)
    counted = world.come(4_000)
    assert abs(world.edges[A].connections - world.edges[B].connections) < 700
    balancer, records = SmoothBalancer(), World({A: Edge(2_000), B: Edge(0)}, routers=1).records()
    blind = Counter(balancer.choose(effective_weights(records)) for _ in range(4_000))
    assert blind[B] > counted[B] + 400


def test_an_edge_that_came_back_from_a_drain_grows_as_a_new_one() -> None:
    world = World({A: Edge(1_000), B: Edge(0)}, routers=2)
    world.edges[B].since = world.clock.monotonic()
    first = world.second(200)[B]
    for _ in range(round(RAMP_SECONDS)):
        last = world.second(200)[B]
    assert first < 60 < last
