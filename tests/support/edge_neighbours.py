"""Fakes of group_svc, unread_svc and router_svc for an edge under test: real gRPC on loopback, scripted answers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from throng.api.common.v1 import error_pb2, group_pb2, message_pb2
from throng.api.edge.v1 import edge_pb2, edge_pb2_grpc
from throng.api.group.v1 import group_pb2 as group_service_pb2
from throng.api.group.v1 import group_pb2_grpc, message_pb2_grpc
from throng.api.group.v1 import message_pb2 as message_service_pb2
from throng.api.router.v1 import router_pb2, router_pb2_grpc
from throng.api.unread.v1 import unread_pb2, unread_pb2_grpc
from throng.api.uplink.v1 import uplink_pb2, uplink_pb2_grpc
from throng.runtime.rpc_limits import OPTIONS

DEADLINE_SECONDS = 10.0


class FakeGroups(
    group_pb2_grpc.GroupServiceServicer, message_pb2_grpc.MessageServiceServicer, uplink_pb2_grpc.UplinkServiceServicer
):
    """One open group `lobby` and a log; every other group is not found."""

    def __init__(self) -> None:
        self.messages: list[message_pb2.Message] = []
        self.appended: queue.Queue[uplink_pb2.SubmittedMessage] = queue.Queue()
        self.enter_batches: list[int] = []
        self.enters_allowed = threading.Event()
        self.enters_allowed.set()
        self.deleted_batches: list[int] = []
        self.deleted: dict[str, list[int]] = {}
        self.streams = 0
        self.refuse_appends = False
        self.break_next_append = False

    def group(self) -> group_pb2.Group:
        settings = group_pb2.GroupSettings(open=True, send_interval_ms=0, budget_per_second=0, block_max_messages=10)
        return group_pb2.Group(group_id="lobby", name="Lobby", epoch=1, head_seq=len(self.messages), settings=settings)

    def add(self, text: str, *, sender: str = "bob") -> message_pb2.Message:
        """Persists a message."""
        message = message_pb2.Message(
            seq=len(self.messages) + 1, sender_id=sender, client_msg_id="m", text=message_pb2.Text(text=text)
        )
        self.messages.append(message)
        return message

    def BatchEnter(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.enter_batches.append(len(request.entries))
        self.enters_allowed.wait(DEADLINE_SECONDS)
        results = []
        for entry in request.entries:
            if entry.group_id != "lobby":
                error = error_pb2.ErrorDetail(code=error_pb2.ERROR_CODE_GROUP_NOT_FOUND, text="no such group")
                results.append(group_service_pb2.EnterResult(error=error))
                continue
            member = group_pb2.Member(user_id=entry.user_id, role=group_pb2.ROLE_MEMBER)
            results.append(group_service_pb2.EnterResult(entered=group_service_pb2.UserGroup(group=self.group(), member=member)))
        return group_service_pb2.BatchEnterResponse(results=results)

    def GetHeads(self, request: Any, context: Any) -> Any:  # noqa: N802
        heads = [
            group_service_pb2.GroupHead(group_id=group_id, epoch=1, head_seq=len(self.messages)) for group_id in request.group_ids
        ]
        return group_service_pb2.GetHeadsResponse(heads=heads)

    def ListUserGroups(self, request: Any, context: Any) -> Any:  # noqa: N802
        return group_service_pb2.ListUserGroupsResponse()

    def ListMessages(self, request: Any, context: Any) -> Any:  # noqa: N802
        limit = request.limit or 50
        if request.HasField("after_seq"):
            after = request.after_seq
            until = min(request.up_to_seq or len(self.messages), after + limit)
        else:
            until = request.before_seq - 1 if request.before_seq else len(self.messages)
            after = max(0, until - limit)
        return message_service_pb2.ListMessagesResponse(
            epoch=1, head_seq=len(self.messages), after_seq=after, messages=self.messages[after:until]
        )

    def ListDeleted(self, request: Any, context: Any) -> Any:  # noqa: N802
        return message_service_pb2.ListDeletedResponse()

    def BatchListDeleted(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.deleted_batches.append(len(request.requests))
        results = [message_service_pb2.ListDeletedResponse(seqs=self.deleted.get(one.user_id, [])) for one in request.requests]
        return message_service_pb2.BatchListDeletedResponse(results=results)

    def Append(self, request_iterator: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        self.streams += 1
        for request in request_iterator:
            if self.break_next_append:
                self.break_next_append = False
                context.abort(grpc.StatusCode.UNAVAILABLE, "the log moves")
            for record in request.records:
                self.appended.put(record)
            failures = []
            if self.refuse_appends:
                error = error_pb2.ErrorDetail(code=error_pb2.ERROR_CODE_UNAVAILABLE, text="the log is full", retry_after_ms=7)
                failures = [uplink_pb2.AppendFailure(index=index, error=error) for index in range(len(request.records))]
            yield uplink_pb2.AppendResponse(batch_id=request.batch_id, failures=failures)


class FakeUnread(unread_pb2_grpc.UnreadServiceServicer):
    """Counts nothing; keeps the cursors it was told."""

    def __init__(self) -> None:
        self.cursors: dict[tuple[str, str], int] = {}

    def ReportCursors(self, request: Any, context: Any) -> Any:  # noqa: N802
        for cursor in request.cursors:
            self.cursors[cursor.user_id, cursor.group_id] = cursor.read_seq
        return unread_pb2.ReportCursorsResponse()

    def GetUnreadCounts(self, request: Any, context: Any) -> Any:  # noqa: N802
        counts = [unread_pb2.GroupUnread(group_id=group_id) for group_id in request.group_ids]
        return unread_pb2.GetUnreadCountsResponse(counts=counts)

    def BatchGetUnread(self, request: Any, context: Any) -> Any:  # noqa: N802
        return unread_pb2.BatchGetUnreadResponse(counts=[unread_pb2.GroupUnread(group_id=pair.group_id) for pair in request.pairs])


class FakeRouter(router_pb2_grpc.RouterServiceServicer):
    """Applies every report and keeps it."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.identities: list[router_pb2.EdgeIdentity] = []
        self.routes: dict[str, int] = {}
        self.snapshots = 0
        self.digests: list[router_pb2.RouteDigest] = []
        self.loads: list[router_pb2.EdgeLoad] = []
        self.want_snapshot = False
        self.assigned: router_pb2.AssignEdgeResponse | None = None

    def ReportRoutes(self, request_iterator: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        for request in request_iterator:
            with self.changed:
                self._apply(request)
                self.changed.notify_all()
                wanted, self.want_snapshot = self.want_snapshot, False
            yield router_pb2.ReportRoutesResponse(applied_report_id=request.report_id, snapshot_wanted=wanted)

    def _apply(self, request: Any) -> None:
        kind = request.WhichOneof("report")
        if kind == "identity":
            self.identities.append(request.identity)
        elif kind == "snapshot":
            self.snapshots += 1
            self.routes = {count.group_id: count.connections for count in request.snapshot.groups}
        elif kind == "delta":
            self.routes.update({count.group_id: count.connections for count in request.delta.groups})
        elif kind == "digest":
            self.digests.append(request.digest)
        else:
            self.loads.append(request.load)

    def AssignEdge(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self.assigned is None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "there is no edge")
        return self.assigned

    def wait_for(self, condition: Any) -> None:
        """Waits until `condition()` holds; fails after a deadline."""
        with self.changed:
            assert self.changed.wait_for(condition, DEADLINE_SECONDS), "the router did not hear of it"


class Neighbours:
    """All fakes behind one gRPC server; `restart` breaks every stream."""

    def __init__(self) -> None:
        self.groups, self.unread, self.router = FakeGroups(), FakeUnread(), FakeRouter()
        self.address = ""
        self._server: grpc.Server | None = None
        self._pool: futures.ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Serves, at the same address as before."""
        self._pool = futures.ThreadPoolExecutor(32)
        server = grpc.server(self._pool, options=OPTIONS)
        group_pb2_grpc.add_GroupServiceServicer_to_server(self.groups, server)
        message_pb2_grpc.add_MessageServiceServicer_to_server(self.groups, server)
        uplink_pb2_grpc.add_UplinkServiceServicer_to_server(self.groups, server)
        unread_pb2_grpc.add_UnreadServiceServicer_to_server(self.unread, server)
        router_pb2_grpc.add_RouterServiceServicer_to_server(self.router, server)
        healthy = health.HealthServicer()
        healthy.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
        port = server.add_insecure_port(self.address or "127.0.0.1:0")
        self.address = self.address or f"127.0.0.1:{port}"
        server.start()
        self._server = server

    def stop(self) -> None:
        """Breaks everything off."""
        if self._server is not None and self._pool is not None:
            self._server.stop(None).wait()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._server = None


class Delivery:
    """A Deliver stream as a router opens it."""

    patience_seconds: float | None = DEADLINE_SECONDS * 3

    def __init__(self, address: str, edge_id: str, incarnation: int) -> None:
        self._channel = grpc.insecure_channel(address, options=OPTIONS)
        self._requests: queue.Queue[edge_pb2.DeliverRequest | None] = queue.Queue()
        self._requests.put(edge_pb2.DeliverRequest(edge_id=edge_id, incarnation=incarnation))
        self.stub: Any = edge_pb2_grpc.EdgeServiceStub(self._channel)
        self.responses = self.stub.Deliver(iter(self._requests.get, None), timeout=self.patience_seconds)

    def send(self, *events: edge_pb2.EdgeEvent) -> int:
        """Sends events in one message; returns what the edge has accepted in all."""
        self._requests.put(edge_pb2.DeliverRequest(events=[event.SerializeToString() for event in events]))
        return int(next(self.responses).accepted_events)

    def open(self) -> None:
        """Waits until the edge has taken the identity; raises grpc.RpcError when it refuses."""
        assert next(self.responses).accepted_events == 0

    def close(self) -> None:
        """Ends the stream."""
        self._requests.put(None)
        self.responses.cancel()
        self._channel.close()


def block_event(messages: list[message_pb2.Message], *, published_at_ms: int = 1) -> edge_pb2.EdgeEvent:
    """A block of consecutive messages in `lobby`."""
    block = message_pb2.Block(group_id="lobby", epoch=1, prev_seq=messages[0].seq - 1, messages=messages)
    return edge_pb2.EdgeEvent(group_id="lobby", published_at_ms=published_at_ms, block=block.SerializeToString())
