"""Groups that are held and silent cost Redis nothing: what it is asked for is written down while nothing happens (real Redis)."""

from __future__ import annotations

import pathlib
import threading
import time
import uuid

import grpc
import redis
from prometheus_client import CollectorRegistry
from redis_probe import emptied
from router_stage import FakeEdge, ReportStream
from router_stage import until as until_true

from group_svc.app import GroupApp
from group_svc.settings import GroupServiceSettings
from router_svc.app import RouterApp
from router_svc.settings import RouterSettings
from throng.api.common.v1 import group_pb2 as common
from throng.api.common.v1 import message_pb2 as pb
from throng.api.group.v1 import group_pb2 as g
from throng.api.group.v1 import group_pb2_grpc, message_pb2_grpc
from throng.api.group.v1 import message_pb2 as m
from throng.runtime.aio_thread import AioThread
from throng.runtime.settings import load
from throng.testing.servers import RedisServer

HELD, SPOKEN_IN = 200, 20
WATCHED_SECONDS = 2.5


class Monitor:
    """Keeps every command that a Redis server runs."""

    def __init__(self, url: str) -> None:
        self.commands: list[str] = []
        self._client = redis.Redis.from_url(url)
        self._monitor = self._client.monitor()
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Monitor:
        self._monitor.__enter__()
        self._thread.start()
        return self

    def _listen(self) -> None:
        for command in self._monitor.listen():
            self.commands.append(command["command"])
            if "end-of-watch" in command["command"]:
                self.ended.set()
                return

    def __exit__(self, *_: object) -> None:
        self._client.echo("end-of-watch")
        self._thread.join(10)
        self._monitor.connection.disconnect()
        self._client.close()

    def touching(self, prefix: str) -> list[str]:
        return [command for command in self.commands if prefix in command]


def test_silent_groups_are_not_touched_in_redis(redis_server: RedisServer, aio: AioThread, tmp_path: pathlib.Path) -> None:
    with emptied(redis_server.url):
        values = {
            "port": 0,
            "redis_url": redis_server.url,
            "heartbeat_seconds": 0.5,
            "channel_tick_seconds": 0.2,
            "drain_seconds": 0.5,
        }
        router = RouterApp(RouterSettings(**values), aio, registry=CollectorRegistry())
        router.start()
        settings = {"port": 0, "data_dir": tmp_path, "redis_url": redis_server.url, "router_addresses": router.grpc_address}
        app = GroupApp(load(GroupServiceSettings, flags=settings | {"unread_addresses": ""}), registry=CollectorRegistry())
        app.start()
        try:
            speak(app.grpc_address)
            edge, reports = aio.run(begin(router.grpc_address), 30.0)
            with Monitor(redis_server.url) as monitor:
                until = time.monotonic() + WATCHED_SECONDS
                while time.monotonic() < until:
                    aio.run(reports.beat(connections=HELD), 10.0)
                    monitor.ended.wait(0.1)
            aio.run(reports.break_off(), 10.0)
            aio.run(edge.stop(), 10.0)
        finally:
            app.stop()
            router.stop()
    assert monitor.touching("throng:router:edge:"), "the edge's own life is renewed, so the watching works"
    assert monitor.touching("throng:router:group:") == [], "no route is refreshed"
    assert monitor.touching("throng:group:") == [], "no message and no head is looked at"


def speak(address: str) -> None:
    """One message in some groups: they are in the cache, and silent from now on."""
    with grpc.insecure_channel(address) as channel:
        groups, messages = group_pb2_grpc.GroupServiceStub(channel), message_pb2_grpc.MessageServiceStub(channel)
        for number in range(SPOKEN_IN):
            group_id = f"g{number}"
            free = common.GroupSettings(send_interval_ms=0, budget_per_second=0)
            groups.CreateGroup(g.CreateGroupRequest(group_id=group_id, settings=free), timeout=5)
            groups.AddMembers(g.AddMembersRequest(group_id=group_id, members=[common.Member(user_id="ann")]), timeout=5)
            body = pb.Message(text=pb.Text(text="hi"))
            request = m.SendMessageRequest(group_id=group_id, user_id="ann", client_msg_id=str(uuid.uuid4()), body=body)
            messages.SendMessage(request, timeout=10)


async def begin(address: str) -> tuple[FakeEdge, ReportStream]:
    edge = await FakeEdge("edge-1").start()
    reports = await ReportStream(address, edge).begin({f"g{number}": 1 for number in range(HELD)})
    await until_true(lambda: sum(map(len, edge.online)) >= HELD, "the edge to be told of all groups")
    return edge, reports
