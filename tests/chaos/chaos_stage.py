"""The cluster that chaos tests share, and calls to its services past all proxies."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import grpc

from throng.adapters.jwt_tokens import TokenIssuer
from throng.api.common.v1 import group_pb2 as common_pb2
from throng.api.group.v1 import group_pb2, group_pb2_grpc, message_pb2, message_pb2_grpc
from throng.api.unread.v1 import unread_pb2, unread_pb2_grpc
from throng.cluster import LINKS, Cluster, ClusterPlan
from throng.cluster.service_process import ServiceProcess
from throng.runtime import rpc_sync

T = TypeVar("T")
SPARE = "group-3"
"""A group service that stands by: it is added and taken away under load."""

CLOCKED = ("edge-2", "group-2")
"""Processes whose clock the tests set."""

SESSION_SECONDS = 3.0
"""A group service that is silent for so long loses its partitions."""

_CALL_SECONDS = 3.0
_TOKEN_SECONDS = 86_400


class ChaosStage:
    """Two edges, two routers, two group services and one that stands by, one unread service; every link leads through a proxy."""

    def __init__(self, folder: pathlib.Path, *, say: Callable[[str], None] | None = None) -> None:
        self.folder = folder
        self.clock_file = folder / "clock"
        self.clock_file.write_text("0\n", encoding="ascii")
        self.cluster = Cluster(folder / "cluster", self._plan(), say=say)
        self.closing = contextlib.ExitStack()
        self.groups: Any = None
        self.messages: Any = None
        self.unread: Any = None

    def _plan(self) -> ClusterPlan:
        search = [str(pathlib.Path(__file__).parent / "clock_offset"), os.environ.get("PYTHONPATH", "")]
        clock = {"PYTHONPATH": os.pathsep.join(filter(None, search)), "CHAOS_CLOCK_FILE": str(self.clock_file)}
        return ClusterPlan(
            groups=3,
            default_group="",
            proxied=frozenset(LINKS),
            restart_dead=False,
            environment=dict.fromkeys(CLOCKED, clock),
            flags={
                "edge": {"reconnect_base_ms": "200", "reconnect_max_ms": "2000", "drain_window_ms": "200"},
                "group": {"kafka_session_timeout_seconds": str(SESSION_SECONDS), "drain_seconds": "3"},
            },
        )

    def start(self) -> None:
        """Starts the cluster; the group service that stands by is ended again."""
        self.cluster.start(fresh=True)
        self.cluster.processes[SPARE].stop()
        self.issuer = TokenIssuer.from_file(self.cluster.key_file)
        groups = self.closing.enter_context(rpc_sync.channel(self.addresses("group")))
        unread = self.closing.enter_context(rpc_sync.channel(self.addresses("unread")))
        self.groups = group_pb2_grpc.GroupServiceStub(groups)
        self.messages = message_pb2_grpc.MessageServiceStub(groups)
        self.unread = unread_pb2_grpc.UnreadServiceStub(unread)

    def stop(self) -> None:
        """Ends all of it. Idempotent."""
        self.closing.close()
        self.cluster.stop()

    def keep_logs(self, folder: pathlib.Path) -> None:
        """Copies the output of all processes there."""
        folder.mkdir(parents=True, exist_ok=True)
        for log in self.cluster.logs.glob("*.log"):
            shutil.copy(log, folder / log.name)

    def addresses(self, kind: str) -> list[str]:
        """Where services of a kind listen, past all proxies."""
        return [process.addresses.grpc for process in self.cluster.of(kind)]

    def process(self, name: str) -> ServiceProcess:
        """A service."""
        return self.cluster.processes[name]

    def backend(self, name: str) -> Any:
        """A server: kafka, mariadb or redis."""
        found = getattr(self.cluster.backends, name)
        assert found is not None
        return found

    def metric(self, name: str, process: str) -> float:
        """A metric's sum in one process; 0 while it has no sample."""
        try:
            return self.cluster.metric(name, process)
        except KeyError:
            return 0.0

    def token(self, user_id: str) -> str:
        """A new token."""
        return self.issuer.issue(user_id, ttl_seconds=_TOKEN_SECONDS)

    def set_clock(self, seconds: int) -> None:
        """Sets the clock of `CLOCKED` so much ahead; they see it within a fifth of a second."""
        self.clock_file.write_text(f"{seconds}\n", encoding="ascii")

    def mend(self) -> None:
        """Brings everything back to how it was at the start, whatever a fault has left behind."""
        self.set_clock(0)
        self.cluster.links.restore_all()
        for backend in self.cluster.backends.all():
            if not backend.running:
                backend.start()
            backend.resume()
        for name, process in self.cluster.processes.items():
            process.resume()
            if name == SPARE:
                process.stop()
            elif not process.running:
                process.start()
        for name, process in self.cluster.processes.items():
            if name != SPARE:
                process.wait_ready(60.0)

    # Calls ----------------------------------------------------------------------------------------------------------

    def call(self, method: Callable[..., T], request: object, *, seconds: float = 30.0) -> T:
        """Calls again and again until it works; what may not be repeated must be safe to repeat.

        Raises:
            grpc.RpcError: it did not work within `seconds`.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                return method(request, timeout=_CALL_SECONDS)
            except grpc.RpcError as error:
                is_final = error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
                if is_final or time.monotonic() >= deadline:
                    raise
            time.sleep(0.2)

    def make_group(self, group_id: str, users: Sequence[str] = ()) -> None:
        """A group that one is added to, without limits on sending."""
        settings = common_pb2.GroupSettings(open=False, send_interval_ms=0, budget_per_second=0)
        self.call(self.groups.CreateGroup, group_pb2.CreateGroupRequest(group_id=group_id, name=group_id, settings=settings))
        if users:
            self.add(group_id, users)

    def add(self, group_id: str, users: Sequence[str]) -> None:
        """Adds members."""
        members = [common_pb2.Member(user_id=user) for user in users]
        self.call(self.groups.AddMembers, group_pb2.AddMembersRequest(group_id=group_id, members=members))

    def remove(self, group_id: str, user_id: str) -> None:
        """Removes a member."""
        self.call(self.groups.RemoveMembers, group_pb2.RemoveMembersRequest(group_id=group_id, user_ids=[user_id]))

    def head(self, group_id: str) -> tuple[int, int]:
        """(epoch, seq) of the newest message."""
        head = self.call(self.groups.GetHeads, group_pb2.GetHeadsRequest(group_ids=[group_id])).heads[0]
        return head.epoch, head.head_seq

    def history(self, group_id: str, after_seq: int = 0) -> list[Any]:
        """All messages behind a seq, oldest first."""
        epoch, head = self.head(group_id)
        found: list[Any] = []
        while after_seq < head:
            request = message_pb2.ListMessagesRequest(
                group_id=group_id, epoch=epoch, after_seq=after_seq, up_to_seq=head, limit=200
            )
            page = self.call(self.messages.ListMessages, request)
            if not page.messages:
                break
            found += page.messages
            after_seq = page.messages[-1].seq
        return found

    def report_read(self, group_id: str, cursors: dict[str, int]) -> None:
        """Notes how far users have read."""
        marks = [unread_pb2.ReadCursor(user_id=user, group_id=group_id, read_seq=seq) for user, seq in cursors.items()]
        self.call(self.unread.ReportCursors, unread_pb2.ReportCursorsRequest(cursors=marks))
