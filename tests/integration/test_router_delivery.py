"""router_svc with real gRPC and fake edges: routes, publications, slow, dying and returning edges, replicas."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import grpc
import pytest
from router_replicas import RouterStage
from router_stage import FakeEdge, PublishStream, ReportStream, block, heads, until, until_async

from throng.api.edge.v1 import edge_pb2
from throng.api.router.v1 import router_pb2
from throng.runtime.aio_thread import AioThread
from throng.runtime.rpc_status import from_rpc_error

HEARTBEAT_SECONDS = 0.3


@pytest.fixture(scope="module")
def aio() -> Iterator[AioThread]:
    thread = AioThread("router-tests")
    thread.start()
    yield thread
    thread.stop()


@pytest.fixture
def stage(aio: AioThread) -> Iterator[RouterStage]:
    with RouterStage(aio) as made:
        yield made


async def keep_alive(*streams: ReportStream) -> None:
    while True:
        for stream in streams:
            await stream.beat(connections=1)
        await asyncio.sleep(HEARTBEAT_SECONDS / 2)


def test_both_edges_get_the_same_bytes_in_order(stage: RouterStage) -> None:
    router = stage.router()

    async def scenario() -> None:
        one, two, other = await stage.edge("e1"), await stage.edge("e2"), await stage.edge("e3")
        await stage.reports(router, one).begin({"g": 3, "h": 1})
        await stage.reports(router, two).begin({"g": 4})
        await stage.reports(router, other).begin({"elsewhere": 1})
        publisher = stage.publisher(router)
        sent = [block("g", seq) for seq in range(1, 301)]
        for start in range(0, 300, 7):
            await publisher.publish(*sent[start : start + 7])
        await publisher.publish(block("h", 1))
        await until(lambda: len(one.events) == 301 and len(two.events) == 300, "all events")
        assert one.events[:300] == two.events == [each.event for each in sent]
        assert other.events == []
        assert one.greetings == [("e1", 1_000)]
        found = await stage.stub(router).GetGroupRoutes(router_pb2.GetGroupRoutesRequest(group_id="g"), timeout=5)
        assert ([(each.edge_id, each.connections) for each in found.routes], found.online) == ([("e1", 3), ("e2", 4)], 7)

    stage.run(scenario())


def test_each_edge_is_told_how_many_are_online_by_the_replica_it_reports_to(stage: RouterStage) -> None:
    one, two = stage.router(), stage.router()

    async def scenario() -> None:
        first, second = await stage.edge("e1"), await stage.edge("e2")
        reports = await stage.reports(one, first).begin({"g": 3, "h": 1})
        await stage.reports(two, second).begin({"g": 4})
        await until(lambda: {"g": 7} in second.online and merged(first) == {"g": 7, "h": 1}, "the sums")
        await reports.change({"g": 5})
        await until(lambda: merged(first)["g"] == merged(second)["g"] == 9, "the sum that changed")
        assert second.online[-1] == {"g": 9}
        await reports.good_bye()
        await until(lambda: merged(second)["g"] == 4, "what is left")
        assert (first.events, second.events) == ([], [])

    def merged(edge: FakeEdge) -> dict[str, int]:
        return {group_id: online for event in edge.online for group_id, online in event.items()}

    stage.run(scenario())


def test_answers_go_to_one_life_of_one_edge(stage: RouterStage) -> None:
    router = stage.router()

    async def scenario() -> None:
        edge, other = await stage.edge("e1"), await stage.edge("e2")
        await stage.reports(router, edge).begin()
        await stage.reports(router, other).begin()
        publisher = stage.publisher(router)
        await publisher.publish(
            router_pb2.Publication(edge_id="e1", incarnation=999, event=b"former life"),
            router_pb2.Publication(edge_id="nowhere", incarnation=1, event=b"nobody"),
            router_pb2.Publication(edge_id="e1", incarnation=1_000, event=b"answer"),
        )
        await until(lambda: edge.events, "the answer")
        assert (edge.events, other.events) == ([b"answer"], [])
        assert stage.sample("throng_router_publications_total", {"outcome": "edge_gone"}) == 2

    stage.run(scenario())


def test_deltas_count_at_once_and_an_edge_without_the_group_gets_nothing(stage: RouterStage) -> None:
    router = stage.router()

    async def scenario() -> None:
        edge = await stage.edge("e1")
        reports = await stage.reports(router, edge).begin()
        publisher = stage.publisher(router)
        await publisher.publish(block("g", 1))  # nobody holds it; the table remembers that
        await reports.change({"g": 1})
        await publisher.publish(block("g", 2))
        await until(lambda: edge.events, "the block")
        await reports.change({"g": 0})
        await publisher.publish(block("g", 3), router_pb2.Publication(edge_id="e1", event=b"last"))
        await until(lambda: len(edge.events) == 2, "the last event")
        assert edge.events == [block("g", 2).event, b"last"]

    stage.run(scenario())


def test_a_slow_edge_holds_up_nobody_and_gets_a_head_instead_of_silence_i8(stage: RouterStage) -> None:
    router = stage.router(queue_events=50, queue_bytes=1 << 20, window_bytes=100_000)

    async def scenario() -> None:
        slow, fast = await stage.edge("slow"), await stage.edge("fast")
        slow.reading.clear()
        await stage.reports(router, slow).begin({"g": 1})
        await stage.reports(router, fast).begin({"g": 1})
        publisher = stage.publisher(router)
        last = 400
        for seq in range(1, last + 1):
            await publisher.publish(block("g", seq, size_bytes=10_000))
            await until(lambda seq=seq: len(fast.events) == seq, "the fast edge")
        assert heads(fast.events, "g") == []
        assert len(slow.events) < last
        assert stage.sample("throng_router_deliver_queue_overflows_total", {"action": "shrunk"}) > 0
        slow.reading.set()
        await until(lambda: heads(slow.events, "g")[-1:] == [last], "the newest head")
        assert len(slow.events) < last / 2

    stage.run(scenario())


def test_a_second_replica_sees_routes_reported_to_the_first(stage: RouterStage) -> None:
    first, second = stage.router(), stage.router()

    async def scenario() -> None:
        edge, late = await stage.edge("e1"), await stage.edge("e2")
        reports = await stage.reports(first, edge).begin({"g": 2})
        publisher = stage.publisher(second)
        await publisher.publish(block("g", 1))
        await until(lambda: edge.events, "the block by the other replica")
        await stage.reports(first, late).begin({"g": 5})  # told by the change channel: `second` holds g in its table
        stub = stage.stub(second)

        async def online() -> int:
            return (await stub.GetGroupRoutes(router_pb2.GetGroupRoutesRequest(group_id="g"), timeout=5)).online

        async def is_seven() -> bool:
            return await online() == 7

        await until_async(is_seven, "both edges in the table of the second replica")
        await publisher.publish(block("g", 2))
        await until(lambda: late.events == [block("g", 2).event], "the block at the late edge")
        await reports.change({"g": 0})

        async def is_five() -> bool:
            return await online() == 5

        await until_async(is_five, "the removal in the table of the second replica")

    stage.run(scenario())


def test_an_edge_that_dies_is_dropped_after_three_missed_heartbeats(stage: RouterStage) -> None:
    router = stage.router(heartbeat_seconds=HEARTBEAT_SECONDS)

    async def scenario() -> None:
        dying, staying = await stage.edge("e1"), await stage.edge("e2")
        reports = await stage.reports(router, dying).begin({"g": 1})
        beating = asyncio.create_task(keep_alive(await stage.reports(router, staying).begin({"g": 1})))
        stub = stage.stub(router)
        try:
            await reports.break_off()
            await dying.stop()
            died_at = time.monotonic()

            async def gone() -> bool:
                listed = await stub.ListEdges(router_pb2.ListEdgesRequest(), timeout=5)
                return [each.identity.edge_id for each in listed.edges] == ["e2"]

            await until_async(gone, "the edge to be dropped")
            assert time.monotonic() - died_at > HEARTBEAT_SECONDS
            assigned = {(await stub.AssignEdge(router_pb2.AssignEdgeRequest(), timeout=5)).edge_id for _ in range(10)}
            assert assigned == {"e2"}
            await stage.publisher(router).publish(block("g", 1))
            await until(lambda: staying.events, "the block at the edge that stays")
            assert stage.sample("throng_router_edges_dropped_total", {"reason": "expired"}) == 1
        finally:
            beating.cancel()

    stage.run(scenario())


def test_an_edge_that_says_good_bye_is_gone_at_once(stage: RouterStage) -> None:
    router = stage.router()

    async def scenario() -> None:
        edge = await stage.edge("e1")
        reports = await stage.reports(router, edge).begin({"g": 1})
        await reports.good_bye()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stage.stub(router).AssignEdge(router_pb2.AssignEdgeRequest(), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    stage.run(scenario())


def test_a_draining_edge_gets_no_clients_and_is_gone_when_its_stream_breaks(stage: RouterStage) -> None:
    router = stage.router()

    async def scenario() -> None:
        edge, other = await stage.edge("e1"), await stage.edge("e2")
        reports = await stage.reports(router, edge).begin({"g": 1})
        await stage.reports(router, other).begin({"g": 1})
        await reports.beat(connections=5, draining=True)
        stub = stage.stub(router)
        listed = await stub.ListEdges(router_pb2.ListEdgesRequest(), timeout=5)
        assert {each.identity.edge_id: each.effective_weight for each in listed.edges}["e1"] == 0
        assert {(await stub.AssignEdge(router_pb2.AssignEdgeRequest(), timeout=5)).edge_id for _ in range(5)} == {"e2"}
        await reports.break_off()

        async def gone() -> bool:
            edges = (await stub.ListEdges(router_pb2.ListEdgesRequest(), timeout=5)).edges
            return [each.identity.edge_id for each in edges] == ["e2"]

        await until_async(gone, "the draining edge to go")

    stage.run(scenario())


def test_a_link_comes_back_when_the_edge_does(stage: RouterStage) -> None:
    router = stage.router()

    async def scenario() -> None:
        edge = await stage.edge("e1")
        await stage.reports(router, edge).begin({"g": 1})
        publisher = stage.publisher(router)
        await publisher.publish(block("g", 1))
        await until(lambda: len(edge.events) == 1, "the first block")
        await edge.stop()
        await until(lambda: stage.sample("throng_router_deliver_link_breaks_total", {"reason": "broken"}) == 1, "the break")
        await publisher.publish(block("g", 2))
        await edge.start()
        await until(lambda: len(edge.events) == 2, "the block that waited")
        assert edge.events[1] == block("g", 2).event
        assert len(edge.greetings) == 2

    stage.run(scenario())


def test_a_newer_life_replaces_the_older_and_the_older_is_refused(stage: RouterStage) -> None:
    router, elsewhere = stage.router(), stage.router()

    async def scenario() -> None:
        old = await stage.edge("e1", incarnation=1_000)
        old_reports = await stage.reports(router, old).begin({"g": 1, "only-old": 1})
        new = await stage.edge("e1", incarnation=2_000)
        await stage.reports(elsewhere, new).begin({"g": 1})
        publisher = stage.publisher(elsewhere)
        await publisher.publish(block("g", 1), block("only-old", 1))
        await until(lambda: new.events, "the block in the new life")
        assert (new.events, old.events) == ([block("g", 1).event], [])
        await old_reports.send(delta=router_pb2.RouteDelta(groups=[router_pb2.GroupCount(group_id="g", connections=9)]))
        error = await old_reports.ended()
        assert error is not None
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        again = stage.reports(router, old)
        await again.send(
            identity=router_pb2.EdgeIdentity(edge_id="e1", incarnation=1_000, internal_address=old.address, public_url="ws://old")
        )
        error = await again.ended()
        assert error is not None
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION

    stage.run(scenario())


def test_a_wrong_digest_asks_for_a_snapshot(stage: RouterStage) -> None:
    router = stage.router()

    async def scenario() -> None:
        reports = await stage.reports(router, await stage.edge("e1")).begin({"g": 1})
        await reports.applied_up_to(await reports.send(digest=router_pb2.RouteDigest(group_count=1, xor_hash=1)))
        # asked for at the beginning, and again only after a while: the edge is not flooded with wishes
        assert reports.snapshots_wanted == 0

    stage.run(scenario())


BAD_PUBLICATIONS = {
    "nobody": [router_pb2.Publication(event=b"e")],
    "both": [router_pb2.Publication(group_id="g", edge_id="e", event=b"e")],
    "no event": [router_pb2.Publication(group_id="g")],
    "empty batch": [],
    "too many": [router_pb2.Publication(group_id="g", event=b"e")] * 1_001,
}


@pytest.mark.parametrize("name", sorted(BAD_PUBLICATIONS))
def test_bad_publications_are_refused(stage: RouterStage, name: str) -> None:
    router = stage.router()

    async def scenario() -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stage.publisher(router).publish(*BAD_PUBLICATIONS[name])
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    stage.run(scenario())


BAD_IDENTITIES = {
    "edge_id": {"edge_id": "not an id"},
    "incarnation": {"incarnation": 0},
    "internal_address": {"internal_address": "nowhere"},
    "public_url": {"public_url": ""},
    "weight": {"weight": 1_001},
}


@pytest.mark.parametrize("field", sorted(BAD_IDENTITIES))
def test_bad_identities_are_refused(stage: RouterStage, field: str) -> None:
    router = stage.router()

    async def scenario() -> None:
        reports = stage.reports(router, FakeEdge("e1", address="127.0.0.1:1"))
        # Nothing is written after it: a write that meets the end of a stream hides from grpc.aio what it ended with.
        await reports.introduce(**BAD_IDENTITIES[field])
        error = await reports.ended()
        assert error is not None
        assert from_rpc_error(error).fields == {"field": field}

    stage.run(scenario())


def test_streams_end_with_unavailable_when_the_replica_stops(stage: RouterStage) -> None:
    router, other = stage.router(), stage.router()

    async def before() -> tuple[ReportStream, PublishStream]:
        return await stage.reports(router, await stage.edge("e1")).begin({"g": 1}), stage.publisher(router)

    reports, publisher = stage.aio.run(before(), 30)
    started = time.monotonic()
    router.stop()
    router.stop()
    assert time.monotonic() - started < 5

    async def scenario() -> None:
        error = await reports.ended()
        assert error is not None
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
            await publisher.publish(block("g", 1))
        again = await stage.reports(other, reports.edge).begin({"g": 1})
        await stage.publisher(other).publish(block("g", 2))
        await until(lambda: again.edge.events, "the block by the replica that stays")

    stage.run(scenario())


def test_heads_are_well_formed_events() -> None:
    event = edge_pb2.EdgeEvent(group_id="g", head=edge_pb2.Head(epoch=2, head_seq=7)).SerializeToString()
    assert heads([event, block("g", 1).event], "g") == [7]
