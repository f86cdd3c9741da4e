"""unread_svc over real gRPC on loopback, beside a group_svc that a test holds in its hand."""

from __future__ import annotations

import itertools
import pathlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from groups_model import GroupsModel
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from throng.api.common.v1 import error_pb2
from throng.api.common.v1 import group_pb2 as common_pb2
from throng.api.group.v1 import group_pb2, group_pb2_grpc, message_pb2, message_pb2_grpc
from throng.api.unread.v1 import unread_pb2, unread_pb2_grpc
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import GroupId, UserId
from throng.runtime import rpc_sync
from throng.runtime.rpc_metrics import RpcMetrics
from throng.runtime.rpc_status import from_rpc_error
from throng.testing.fake_clock import FakeClock
from unread_svc.app import UnreadApp
from unread_svc.ports import CountableQuery, Membership, UserInGroup
from unread_svc.settings import UnreadSettings

_names = itertools.count()


class ModelServicer(group_pb2_grpc.GroupServiceServicer, message_pb2_grpc.MessageServiceServicer):
    """The four calls that unread_svc makes, answered from the model; pages of two groups."""

    def __init__(self, model: GroupsModel) -> None:
        self.model = model

    def BatchGetMembers(self, request: Any, context: Any) -> Any:  # noqa: N802
        pairs = [UserInGroup(UserId(key.user_id), GroupId(key.group_id)) for key in request.keys]
        return group_pb2.BatchGetMembersResponse(results=[_result(found) for found in self.model.memberships(pairs)])

    def ListUserGroups(self, request: Any, context: Any) -> Any:  # noqa: N802
        later = [found for found in self.model.memberships_of(request.user_id) if found.group_id > request.after_group_id]
        return group_pb2.ListUserGroupsResponse(groups=map(_entry, later[:2]), more=len(later) > 2)

    def GetHeads(self, request: Any, context: Any) -> Any:  # noqa: N802
        heads = zip(request.group_ids, self.model.heads(request.group_ids), strict=True)
        return group_pb2.GetHeadsResponse(
            heads=[
                group_pb2.GroupHead(group_id=group_id, epoch=head.epoch if head else 0, head_seq=head.seq if head else 0)
                for group_id, head in heads
            ]
        )

    def ListCountable(self, request: Any, context: Any) -> Any:  # noqa: N802
        query = CountableQuery(request.group_id, request.after_seq, UserId(request.exclude_sender_id) or None)
        page = self.model.countable([query])[0]
        if isinstance(page, ThrongError):
            raise page
        messages = [unread_pb2.CountableMessage(seq=seq, sender_id=sender_id) for seq, sender_id in page.entries]
        return message_pb2.ListCountableResponse(messages=messages, head_seq=page.head.seq, epoch=page.head.epoch)


def _entry(found: Membership) -> group_pb2.UserGroup:
    return group_pb2.UserGroup(
        group=common_pb2.Group(group_id=found.group_id, epoch=found.head.epoch, head_seq=found.head.seq),
        member=common_pb2.Member(joined_seq=found.joined_seq),
    )


def _result(found: Membership | None) -> group_pb2.EnterResult:
    if found is None:
        return group_pb2.EnterResult(error=error_pb2.ErrorDetail(code=error_pb2.ERROR_CODE_NOT_A_MEMBER))
    return group_pb2.EnterResult(entered=_entry(found))


@pytest.fixture
def model() -> GroupsModel:
    return GroupsModel()


@pytest.fixture
def group_address(model: GroupsModel) -> Iterator[str]:
    server = rpc_sync.SyncServer(RpcMetrics("group", CollectorRegistry()), threads=8)
    servicer = ModelServicer(model)
    server.add(group_pb2_grpc.add_GroupServiceServicer_to_server, servicer, "throng.group.v1.GroupService")
    server.add(message_pb2_grpc.add_MessageServiceServicer_to_server, servicer, "throng.group.v1.MessageService")
    port = server.start("127.0.0.1:0")
    yield f"127.0.0.1:{port}"
    server.stop(0)


class Client:
    """An edge or a group_svc, as unread_svc sees it."""

    def __init__(self, address: str) -> None:
        self.channel = rpc_sync.channel([address])
        self.stub: Any = unread_pb2_grpc.UnreadServiceStub(self.channel)

    def report(self, *cursors: tuple[str, str, int]) -> None:
        sent = [unread_pb2.ReadCursor(user_id=u, group_id=g, read_seq=seq) for u, g, seq in cursors]
        self.stub.ReportCursors(unread_pb2.ReportCursorsRequest(cursors=sent), timeout=5)

    def batch(self, *pairs: tuple[str, str]) -> list[tuple[str, int, bool, int]]:
        sent = [unread_pb2.UserInGroup(user_id=u, group_id=g) for u, g in pairs]
        return _counts(self.stub.BatchGetUnread(unread_pb2.BatchGetUnreadRequest(pairs=sent), timeout=5))

    def counts(self, user_id: str, *group_ids: str) -> list[tuple[str, int, bool, int]]:
        request = unread_pb2.GetUnreadCountsRequest(user_id=user_id, group_ids=group_ids)
        return _counts(self.stub.GetUnreadCounts(request, timeout=5))

    def observe(self, *observations: unread_pb2.Observation) -> int:
        return int(self.stub.Observe(iter([unread_pb2.ObserveRequest(observations=observations)]), timeout=5).accepted)


def _counts(response: Any) -> list[tuple[str, int, bool, int]]:
    return [(count.group_id, count.count, count.capped, count.read_seq) for count in response.counts]


def observation_of(model: GroupsModel, group_id: str) -> unread_pb2.Observation:
    observed = model.observe(group_id)
    return unread_pb2.Observation(
        group_id=observed.group_id,
        epoch=observed.epoch,
        prev_seq=observed.prev_seq,
        head_seq=observed.head_seq,
        added=[unread_pb2.CountableMessage(seq=seq, sender_id=sender_id) for seq, sender_id in observed.added],
        removed_seqs=observed.removed_seqs,
    )


def refusal(call: Callable[[], object]) -> ThrongError:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return from_rpc_error(raised.value)


class Unread:
    """One unread_svc and its registry."""

    def __init__(self, folder: pathlib.Path, group_address: str, redis_name: str, **changed: Any) -> None:
        self.registry = CollectorRegistry()
        values = {
            "port": 0,
            "data_dir": folder,
            "redis_url": f"embedded://{redis_name}",
            "group_addresses": group_address,
            "group_timeout_seconds": 1.0,
        }
        self.app = UnreadApp(UnreadSettings(**values | changed), registry=self.registry, clock=FakeClock())
        self.app.start()
        self.client = Client(self.app.grpc_address)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"throng_unread_{name}", labels) or 0.0

    def close(self) -> None:
        self.client.channel.close()
        self.app.stop()


@pytest.fixture
def start(tmp_path: pathlib.Path, group_address: str) -> Iterator[Callable[..., Unread]]:
    started: list[Unread] = []
    redis_name = f"unread-service-{next(_names)}"

    def make(**changed: Any) -> Unread:
        started.append(Unread(tmp_path, changed.pop("group_address", group_address), redis_name, **changed))
        return started[-1]

    yield make
    for unread in started:
        unread.close()


def test_counts_follow_messages_reads_and_recalls(start: Callable[..., Unread], model: GroupsModel) -> None:
    """I7"""
    unread = start()
    client = unread.client
    model.join("g", "ann")
    model.join("g", "bo")
    model.send("g", "ann", 3)
    assert client.observe(observation_of(model, "g")) == 1
    assert client.batch(("bo", "g"), ("ann", "g"), ("nobody", "g"), ("bo", "none")) == [
        ("g", 3, False, 0),
        ("g", 0, False, 0),
        ("g", 0, False, 0),
        ("none", 0, False, 0),
    ]
    client.report(("bo", "g", 1))
    assert client.batch(("bo", "g")) == [("g", 2, False, 1)]
    model.recall("g", 2)
    client.observe(observation_of(model, "g"))
    assert client.batch(("bo", "g")) == [("g", 1, False, 1)]
    assert model.calls.get("countable", 0) == 0
    assert unread.metric("counts_total", source="window") == 4
    assert unread.metric("observations_total", outcome="advanced") == 1


def test_99_is_exact_and_100_is_capped(start: Callable[..., Unread], model: GroupsModel) -> None:
    """I7"""
    client = start().client
    model.join("g", "ann")
    model.send("g", "bo", 99)
    assert client.counts("ann", "g") == [("g", 99, False, 0)]
    model.send("g", "ann", 1)
    model.send("g", "bo", 1)
    assert client.counts("ann", "g") == [("g", 99, True, 0)]


def test_lost_observations_do_not_make_counts_wrong(start: Callable[..., Unread], model: GroupsModel) -> None:
    """I7: the last observation is lost, and no later one shows it."""
    unread = start()
    model.join("g", "ann")
    model.send("g", "bo", 2)
    unread.client.observe(observation_of(model, "g"))
    model.send("g", "bo", 3)
    model.observe("g")
    assert unread.client.batch(("ann", "g")) == [("g", 5, False, 0)]
    assert unread.metric("window_rebuilds_total", reason="behind") == 1
    assert unread.client.batch(("ann", "g")) == [("g", 5, False, 0)]
    assert model.calls["countable"] == 1


def test_all_groups_come_in_one_call_through_all_pages(start: Callable[..., Unread], model: GroupsModel) -> None:
    client = start().client
    for number in range(5):
        model.join(f"g{number}", "ann")
        model.send(f"g{number}", "bo", number)
    expected = [(f"g{number}", number, False, 0) for number in range(5)]
    assert client.counts("ann") == expected
    assert client.counts("ann", "g3", "other", "g1") == [expected[3], expected[1]]
    assert client.counts("stranger") == []


def test_cursors_survive_a_restart_and_only_grow(start: Callable[..., Unread], model: GroupsModel) -> None:
    """I10"""
    first = start()
    model.join("g", "ann")
    model.send("g", "bo", 9)
    first.client.report(("ann", "g", 7))
    first.client.report(("ann", "g", 3))
    first.app.stop()
    assert start().client.counts("ann", "g") == [("g", 2, False, 7)]


def test_a_cursor_above_the_head_is_taken_as_the_head(start: Callable[..., Unread], model: GroupsModel) -> None:
    unread = start()
    model.join("g", "ann")
    model.send("g", "bo", 2)
    unread.client.report(("ann", "g", 1 << 52), ("ann", "none", 5))
    assert unread.client.counts("ann", "g") == [("g", 0, False, 2)]
    model.send("g", "bo", 1)
    assert unread.client.counts("ann", "g") == [("g", 1, False, 2)]
    assert unread.metric("cursors_total", outcome="dropped") == 1


def test_without_group_svc_calls_are_unavailable_with_a_retry_time(start: Callable[..., Unread]) -> None:
    """unread_svc starts before group_svc, and answers when it comes."""
    client = start(group_address="127.0.0.1:1").client
    for call in (
        lambda: client.batch(("ann", "g")),
        lambda: client.counts("ann"),
        lambda: client.report(("ann", "g", 1)),
    ):
        error = refusal(call)
        assert error.code is ErrorCode.UNAVAILABLE
        assert error.retry_after_ms > 0


def test_without_redis_counts_are_exact(start: Callable[..., Unread], model: GroupsModel) -> None:
    """I10"""
    unread = start(redis_url="redis://127.0.0.1:1/0", redis_timeout_seconds=0.2)
    model.join("g", "ann")
    model.send("g", "bo", 4)
    assert unread.client.observe(observation_of(model, "g")) == 0
    assert unread.client.batch(("ann", "g")) == [("g", 4, False, 0)]
    assert unread.metric("observations_total", outcome="lost") == 1


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda client: client.report(), ErrorCode.INVALID_ARGUMENT),
        (lambda client: client.report(*[("u", "g", 1)] * 10_001), ErrorCode.LIMIT_EXCEEDED),
        (lambda client: client.report(("", "g", 1)), ErrorCode.INVALID_ARGUMENT),
        (lambda client: client.report(("u", "g g", 1)), ErrorCode.INVALID_ARGUMENT),
        (lambda client: client.report(("u", "g", 1 << 53)), ErrorCode.INVALID_ARGUMENT),
        (lambda client: client.batch(), ErrorCode.INVALID_ARGUMENT),
        (lambda client: client.batch(*[("u", "g")] * 1_001), ErrorCode.LIMIT_EXCEEDED),
        (lambda client: client.batch(("u", "ü")), ErrorCode.INVALID_ARGUMENT),
        (lambda client: client.counts(""), ErrorCode.INVALID_ARGUMENT),
        (lambda client: client.counts("u", *["g"] * 501), ErrorCode.LIMIT_EXCEEDED),
        (lambda client: client.observe(), ErrorCode.INVALID_ARGUMENT),
    ],
)
def test_bad_requests_are_refused(start: Callable[..., Unread], call: Callable[[Client], object], code: ErrorCode) -> None:
    assert refusal(lambda: call(start().client)).code is code


def test_malformed_observations_are_left_out(start: Callable[..., Unread], model: GroupsModel) -> None:
    unread = start()
    model.join("g", "ann")
    model.send("g", "bo")
    good = observation_of(model, "g")
    backwards = unread_pb2.Observation(group_id="g", epoch=1, prev_seq=9, head_seq=8)
    nameless = unread_pb2.Observation(group_id="", epoch=1, head_seq=8)
    assert unread.client.observe(backwards, good, nameless) == 1
    assert unread.metric("observations_total", outcome="malformed") == 2


class OpenStream:
    """An observation stream that stays open."""

    def __init__(self, client: Client) -> None:
        self._end = threading.Event()
        self.call = client.stub.Observe.future(self._requests())

    def _requests(self) -> Iterator[unread_pb2.ObserveRequest]:
        yield unread_pb2.ObserveRequest(observations=[unread_pb2.Observation(group_id="g", epoch=1, head_seq=1)])
        self._end.wait(30)

    def end(self) -> None:
        self._end.set()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_streams_over_the_bound_are_refused_and_calls_go_on(start: Callable[..., Unread], model: GroupsModel) -> None:
    """I8"""
    unread = start(threads=2, max_observe_streams=1)
    stream = OpenStream(unread.client)
    wait_until(lambda: unread.metric("observe_streams") == 1)
    assert refusal(lambda: unread.client.observe(unread_pb2.Observation())).code is ErrorCode.UNAVAILABLE
    assert unread.client.counts("ann") == []
    stream.end()
    assert stream.call.result(timeout=10).accepted == 1


def test_a_stop_ends_open_streams_at_once(start: Callable[..., Unread]) -> None:
    unread = start(stop_grace_seconds=60.0)
    stream = OpenStream(unread.client)
    wait_until(lambda: unread.metric("observations_total", outcome="started") == 1)
    started = time.monotonic()
    unread.app.stop()
    assert time.monotonic() - started < 10
    with pytest.raises(grpc.RpcError):
        stream.call.result(timeout=10)
    stream.end()
    unread.app.stop()


def test_health_tells_that_it_serves(start: Callable[..., Unread]) -> None:
    unread = start()
    stub: Any = health_pb2_grpc.HealthStub(unread.client.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service="throng.unread.v1.UnreadService"), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
