"""The local table: what it answers, and what late or reordered news cannot do to it."""

from __future__ import annotations

import dataclasses

from router_svc.core.route_table import RouteTable
from router_svc.ports import EdgeInfo, EdgeLoad, EdgeRecord, Route, RoutesChanged, RoutesPruned
from throng.domain.ids import EdgeId, GroupId

G = GroupId("g")
E = EdgeId("e")


def record(*, incarnation: int = 1, expires: float = 9.0) -> EdgeRecord:
    return EdgeRecord(EdgeInfo(E, incarnation, "a:1", "ws://a"), EdgeLoad(), 1, 0, expires)


def route(version: int, connections: int = 1, *, incarnation: int = 1) -> Route:
    return Route(E, incarnation, version, connections)


def changed(version: int, connections: int, *, incarnation: int = 1) -> RoutesChanged:
    return RoutesChanged(E, incarnation, version, {G: connections})


def table(*, max_groups: int = 100) -> RouteTable:
    made = RouteTable(max_groups=max_groups)
    made.begin()
    made.keep_edge(record(), now=0.0)
    return made


def filled(*routes: Route) -> RouteTable:
    made = table()
    made.expect([G])
    made.fill(G, routes, generation=made.generation)
    return made


def test_a_group_without_routes_is_known_while_in_step() -> None:
    made = filled()
    assert made.knows(G)
    assert made.routes(G) == []
    made.change(changed(1, 2))
    assert made.routes(G) == [route(1, 2)]


def test_changes_of_groups_that_are_not_held_are_left_to_the_next_read() -> None:
    made = table()
    made.change(changed(1, 2))
    assert not made.knows(G)


def test_a_change_that_overtakes_the_read_is_kept() -> None:
    made = table()
    made.expect([G])
    made.change(changed(5, 3))
    made.fill(G, [], generation=made.generation)  # read before the change was made
    assert made.routes(G) == [route(5, 3)]


def test_a_removal_that_overtakes_the_read_is_kept() -> None:
    made = table()
    made.expect([G])
    made.change(changed(5, 0))
    made.fill(G, [route(4)], generation=made.generation)
    assert made.routes(G) == []


def test_older_news_do_not_undo_newer_routes() -> None:
    made = filled(route(6, 2))
    made.change(changed(5, 0))
    assert made.routes(G) == [route(6, 2)]
    made.change(changed(7, 0))
    assert made.routes(G) == []


def test_what_was_read_before_a_break_is_not_entered_after_it() -> None:
    made = table()
    before = made.generation
    made.expect([G])
    made.lose()
    made.begin()
    made.fill(G, [route(1)], generation=before)
    assert not made.knows(G)


def test_routes_stay_as_a_last_resort_until_the_channel_is_back() -> None:
    made = filled(route(1))
    made.lose()
    assert (made.in_step, made.routes(G)) == (False, [route(1)])
    made.begin()
    assert not made.knows(G)


def test_routes_of_another_life_do_not_count() -> None:
    made = filled(route(1, incarnation=1))
    assert made.keep_edge(record(incarnation=2), now=1.0)
    assert made.routes(G) == []
    assert not made.keep_edge(record(incarnation=1), now=2.0)
    assert made.edge(E) == record(incarnation=2)


def test_a_snapshot_ends_all_older_routes() -> None:
    made = filled(route(5))
    made.prune(RoutesPruned(E, 6))
    assert made.routes(G) == []
    made.change(changed(6, 1))
    assert made.routes(G) == [route(6)]


def test_edges_expire_but_not_right_after_an_outage() -> None:
    made = filled(route(1))
    assert made.expire(now=8.9, not_before=0.0) == []
    assert made.expire(now=9.0, not_before=10.0) == []
    assert made.expire(now=10.0, not_before=10.0) == [record()]
    assert made.routes(G) == []
    assert made.edges() == []


def test_a_report_lets_an_edge_live_on_without_making_it_new() -> None:
    made = table()
    busy = dataclasses.replace(record(), load=EdgeLoad(connections=7))
    assert not made.keep_edge(busy, now=5.0)
    assert made.expire(now=13.9, not_before=0.0) == []
    assert made.edge(E) == busy


def test_only_the_life_that_said_good_bye_is_dropped() -> None:
    made = table()
    made.keep_edge(record(incarnation=2), now=0.0)
    assert not made.drop_edge(E, 1)
    assert made.drop_edge(E, 2)
    assert not made.drop_edge(E, 2)


def test_the_table_is_bounded_i8() -> None:
    made = table(max_groups=3)
    for number in range(10):
        made.fill(GroupId(f"g{number}"), [], generation=made.generation)
    assert made.group_count == 3
    assert made.knows(GroupId("g9"))
