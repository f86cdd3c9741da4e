"""Smooth weighted round robin and the weights it goes by."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from router_svc.core.balancer import SmoothBalancer
from router_svc.core.weights import effective_weights
from router_svc.ports import EdgeInfo, EdgeLoad, EdgeOrders, EdgeRecord
from throng.domain.ids import EdgeId

A, B, C = EdgeId("a"), EdgeId("b"), EdgeId("c")


def record(edge_id: EdgeId, *, weight: int = 0, **load: object) -> EdgeRecord:
    return EdgeRecord(EdgeInfo(edge_id, 1, "a:1", "ws://a", weight), EdgeLoad(**load), 1, 0, 9.0)  # type: ignore[arg-type]


def test_the_sequence_is_that_of_nginx() -> None:
    balancer = SmoothBalancer()
    assert [balancer.choose({A: 5, B: 1, C: 1}) for _ in range(7)] == [A, A, B, A, C, A, A]


@given(st.dictionaries(st.sampled_from([EdgeId(f"e{n}") for n in range(6)]), st.integers(0, 20), min_size=1))
def test_over_one_round_each_edge_gets_its_weight_exactly(weights: dict[EdgeId, int]) -> None:
    balancer = SmoothBalancer()
    chosen = Counter(balancer.choose(weights) for _ in range(sum(weights.values())))
    assert chosen == Counter({edge_id: weight for edge_id, weight in weights.items() if weight})


def test_avoided_edges_are_a_last_resort_and_weight_zero_is_none() -> None:
    balancer = SmoothBalancer()
    assert {balancer.choose({A: 9, B: 1, C: 0}, avoid=[A]) for _ in range(5)} == {B}
    assert balancer.choose({A: 1, C: 0}, avoid=[A]) == A
    assert balancer.choose({C: 0}) is None
    assert balancer.choose({}) is None


def test_an_edge_that_comes_back_is_not_flooded() -> None:
    balancer = SmoothBalancer()
    for _ in range(50):
        balancer.choose({A: 1, B: 1})
        balancer.choose({A: 1})
    assert Counter(balancer.choose({A: 1, B: 1}) for _ in range(10)) == {A: 5, B: 5}


def test_a_weight_set_by_hand_holds_whatever_the_load_but_not_while_draining() -> None:
    busy = record(A, weight=300, connections=9_999, cpu_share=1.0, fanout_lag_ms=5_000)
    assert effective_weights([busy]) == {A: 300}
    assert effective_weights([record(A, weight=300, draining=True)]) == {A: 0}


def test_derived_weights_fall_with_connections_cpu_and_lag() -> None:
    idle = effective_weights([record(A), record(B)])
    assert idle == {A: 100, B: 100}
    for load in ({"connections": 3_000}, {"cpu_share": 0.8}, {"fanout_lag_ms": 400}):
        weights = effective_weights([record(A, **load), record(B)])
        assert 1 <= weights[A] < weights[B]


def test_an_overloaded_edge_keeps_a_small_share() -> None:
    assert effective_weights([record(A, connections=50_000, cpu_share=3.0, fanout_lag_ms=60_000), record(B)])[A] == 1


def test_an_order_of_an_operator_goes_before_the_setting_and_a_drain_before_all() -> None:
    one = record(A, weight=300)
    assert effective_weights([replace(one, orders=EdgeOrders(weight=40))]) == {A: 40}
    assert effective_weights([replace(one, orders=EdgeOrders(weight=40, drain_id=1, drain=True))]) == {A: 0}
    assert effective_weights([replace(one, orders=EdgeOrders(drain_id=2, drain=False))]) == {A: 300}


def test_an_edge_that_is_full_gets_nobody_counting_those_on_their_way() -> None:
    one = record(A, connections=90, max_connections=100)
    assert effective_weights([one], {A: 9})[A] > 0
    assert effective_weights([one], {A: 10}) == {A: 0}


def test_the_share_of_an_edge_that_begins_grows_over_half_a_minute() -> None:
    def after(seconds: float, *, weight: int = 0) -> int:
        new = record(A, weight=weight)
        return effective_weights([replace(new, serving_since_ms=50_000, reported_at_ms=50_000 + round(seconds * 1000))])[A]

    assert [after(seconds) for seconds in (0, 1, 3, 15, 30, 3_000)] == [5, 5, 5, 25, 100, 100]
    assert after(15, weight=300) == 75
    assert after(-5) == 5  # a clock that went back
