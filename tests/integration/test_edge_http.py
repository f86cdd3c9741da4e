"""HTTP of the edge over a real socket: each refusal with its code and body, the page, login, assignment, health."""

from __future__ import annotations

import asyncio
import http.client
import json
import pathlib
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import tornado.netutil
from edge_client import EdgeClient, Refused

from edge.core.hub_counters import HubCounters
from edge.http.acceptor import Acceptor
from edge.http.admission import Admission, UpgradeRules
from edge.http.application import make_server
from edge.http.handshake_budget import HandshakeBudget
from edge.http.quick_upgrade import QuickUpgrades
from edge.http.readiness import Readiness
from edge.http.services import AssignedEdge, HttpLimits, HttpServices, PageConfig
from edge.http.site import load_site
from edge.http.upgrade_gate import UpgradeGate
from throng.adapters.jwt_tokens import JwtTokenVerifier, TokenIssuer, secret_key
from throng.adapters.system_clock import SystemClock
from throng.domain.errors import unavailable
from throng.domain.group import Delivery
from throng.runtime.aio_thread import AioThread
from throng.testing.fake_clock import FakeClock

KEY = secret_key(b"k" * 40)
CLOCK = SystemClock()


class CatchingDoor:
    """Keeps what is handed over and says so by a text frame."""

    def __init__(self) -> None:
        self.connections = 0
        self.taken: list[tuple[Admission, bytes]] = []
        self._sockets: list[socket.socket] = []

    def adopt(self, sock: socket.socket, admission: Admission, *, initial: bytes, answer: bytes) -> bool:
        self.taken.append((admission, initial))
        self._sockets.append(sock)
        sock.setblocking(True)
        sock.sendall(answer + b"\x81\x04null")
        return True

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


class Edge:
    """The HTTP half of an edge."""

    def __init__(self, static_dir: pathlib.Path, *, quick: bool) -> None:
        self.quick = quick
        self.taken_quickly = 0
        self.door = CatchingDoor()
        self.readiness = Readiness(routes_applied=True, upstream_reachable=True)
        self.clock = FakeClock()
        self.outcomes: list[str] = []
        self.assigned: AssignedEdge | None = None
        self._thread = AioThread("edge-hub")
        self._thread.start()
        self.services = self._services(static_dir)
        self.address = self._thread.run(self._listen(), 5)

    def _services(self, static_dir: pathlib.Path) -> HttpServices:
        async def metrics() -> bytes:
            return b"throng_edge_connections 1.0\n"

        return HttpServices(
            edge_id="edge-1",
            door=self.door,
            verifier=JwtTokenVerifier(KEY, clock=CLOCK),
            issuer=TokenIssuer(KEY, clock=CLOCK),
            rules=UpgradeRules((), allow_access_token_query=False, max_groups=3),
            limits=HttpLimits(max_connections=10),
            readiness=self.readiness,
            budget=HandshakeBudget(5, clock=self.clock),
            site=load_site(static_dir),
            config=PageConfig("1.2.3", ("lobby",)),
            assign=self._assign,
            own_url="",
            upgraded=self.outcomes.append,
            render_metrics=metrics,
        )

    async def _assign(self, user_id: str, avoided: tuple[str, ...]) -> AssignedEdge:
        if self.assigned is None:
            raise unavailable("no router")
        return self.assigned

    async def _listen(self) -> str:
        self._server = make_server(self.services)
        sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
        self._acceptor = Acceptor(
            self._server,
            sockets=1_000,
            clients=lambda: 0,
            counters=HubCounters(),
            quick=self._take if self.quick else lambda _: False,
        )
        self._acceptor.start(sockets)
        self._sockets = sockets
        return f"127.0.0.1:{sockets[0].getsockname()[1]}"

    def _take(self, sock: socket.socket) -> bool:
        """Waits for the request, for only one that has come already is taken quickly."""
        select.select([sock], [], [], 5)
        taken = QuickUpgrades(UpgradeGate(self.services)).take(sock)
        self.taken_quickly += taken
        return taken

    def close(self) -> None:
        async def end() -> None:
            self._acceptor.stop()
            for sock in self._sockets:
                sock.close()
            await self._server.close_all_connections()
            await asyncio.sleep(0)

        self._thread.run(end(), 5)
        self._thread.stop()
        self.door.close()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.address, timeout=5)
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def settled_outcomes(self) -> list[str]:
        """Outcomes of all upgrades that were answered: a request more makes sure that the loop has gone on after the last."""
        self.ask("GET", "/healthz")
        return self.outcomes

    def refuse(self, **more: Any) -> Refused:
        with pytest.raises(Refused) as caught:
            EdgeClient(self.address, **({"token": token()} | more))
        return caught.value


def token() -> str:
    return TokenIssuer(KEY, clock=CLOCK).issue("alice", ttl_seconds=60, name="Alice")


@pytest.fixture(params=["tornado", "quick"])
def edge(tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> Iterator[Edge]:
    """Both ways on which an upgrade is read: they must answer alike."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><p>page")
    (tmp_path / "assets" / "index-AbCd1234.js").write_text("let a;\n" * 200)
    edge = Edge(tmp_path, quick=request.param == "quick")
    yield edge
    edge.close()


def test_an_upgrade_hands_the_socket_over_with_all_that_came_early(edge: Edge) -> None:
    client = EdgeClient(
        edge.address,
        token=token(),
        path="/ws?groups=a,b&delivery=notify",
        subprotocols=("throng.v1.protobuf",),
        early=b"early bytes",
    )
    try:
        assert client.binary
        assert client.receive() is None  # the answer and the first frame came in order; the frame holds JSON's null
        admission, initial = edge.door.taken[0]
        assert admission.identity.user_id == "alice"
        assert admission.identity.display_name == "Alice"
        assert (admission.groups, admission.delivery) == (("a", "b"), Delivery.NOTIFY)
        assert b"early bytes".startswith(initial)
        assert edge.settled_outcomes() == ["accepted"]
    finally:
        client.close()


def test_a_browser_brings_its_token_as_a_subprotocol(edge: Edge) -> None:
    client = EdgeClient(edge.address, subprotocols=("throng.v1.json", f"bearer.{token()}"))
    assert client.subprotocol == "throng.v1.json"
    client.close()


def test_without_an_offer_json_is_spoken_and_none_is_named(edge: Edge) -> None:
    client = EdgeClient(edge.address, token=token(), subprotocols=())
    assert client.subprotocol is None
    assert client.receive() is None
    client.close()


@pytest.mark.parametrize(
    ("more", "status", "code", "outcome"),
    [
        ({"token": ""}, 401, "UNAUTHENTICATED", "no_token"),
        ({"token": "x.y.z"}, 401, "UNAUTHENTICATED", "token_invalid"),
        ({"headers": {"Origin": "https://evil.example"}}, 403, "PERMISSION_DENIED", "foreign_origin"),
        ({"subprotocols": ("chat",)}, 400, "INVALID_ARGUMENT", "bad_subprotocol"),
        ({"path": "/ws?groups=a%20b"}, 400, "INVALID_ARGUMENT", "bad_arguments"),
        ({"path": "/ws?groups=a,b,c,d"}, 400, "LIMIT_EXCEEDED", "bad_arguments"),
        ({"path": "/ws?delivery=both"}, 400, "INVALID_ARGUMENT", "bad_arguments"),
        ({"path": "/ws?groups=%FF"}, 400, "INVALID_ARGUMENT", "bad_arguments"),
    ],
)
def test_each_refusal_has_its_status_and_body(edge: Edge, more: dict[str, Any], status: int, code: str, outcome: str) -> None:
    refused = edge.refuse(**more)
    assert (refused.status, refused.body["code"]) == (status, code)
    assert set(refused.body) == {"code", "text"}
    assert edge.outcomes == [outcome]
    assert not edge.door.taken


def test_an_expired_token_says_so(edge: Edge) -> None:
    old = TokenIssuer(KEY, clock=FakeClock()).issue("alice", ttl_seconds=60)
    refused = edge.refuse(token=old)
    assert (refused.status, refused.body["text"]) == (401, "the token has expired")


def test_a_plain_request_to_the_socket_is_refused(edge: Edge) -> None:
    assert edge.ask("GET", "/ws")[0] == 400
    assert edge.ask("POST", "/ws")[0] == 405
    status, headers, _ = edge.ask(
        "GET", "/ws", Upgrade="websocket", Connection="Upgrade", Sec_WebSocket_Version="8", Sec_WebSocket_Key="x"
    )
    assert (status, headers["sec-websocket-version"]) == (426, "13")


def test_an_edge_that_is_not_ready_full_or_flooded_says_when_to_come_back(edge: Edge) -> None:
    edge.readiness.draining = True
    refused = edge.refuse()
    assert (refused.status, refused.body["code"], refused.headers["retry-after"]) == (503, "UNAVAILABLE", "2")
    edge.readiness.draining = False
    edge.door.connections = 10
    assert edge.refuse().status == 503
    edge.door.connections = 0
    edge.clock.advance(1)
    clients = [EdgeClient(edge.address, token=token()) for _ in range(5)]
    refused = edge.refuse(token="not even looked at")
    assert (refused.status, refused.headers["retry-after"] in ("1", "2")) == (503, True)
    edge.clock.advance(1)
    clients.append(EdgeClient(edge.address, token=token()))
    for client in clients:
        client.close()
    # Where a client is held up between connecting and asking, the kernel gives the connection up unread and Tornado takes it.
    assert edge.taken_quickly in (range(1, 10) if edge.quick else (0,))
    assert edge.settled_outcomes() == ["not_ready", "full", *["accepted"] * 5, "too_many_handshakes", "accepted"]


def test_login_gives_a_token_that_opens_the_door(edge: Edge) -> None:
    status, _, body = edge.ask("POST", "/v1/login", {"name": " 小红 "})
    answer = json.loads(body)
    assert status == 200
    assert set(answer) == {"token", "user_id", "name", "expires_in_seconds"}
    client = EdgeClient(edge.address, token=answer["token"])
    client.receive()
    assert edge.door.taken[0][0].identity.user_id == answer["user_id"]
    assert edge.door.taken[0][0].identity.display_name == "小红"
    client.close()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"name": 3}', b'{"name": " "}', b"\xff"])
def test_a_bad_login_is_refused(edge: Edge, body: bytes) -> None:
    status, _, answer = edge.ask("POST", "/v1/login", body)
    assert status == 400
    assert json.loads(answer)["code"] == "INVALID_ARGUMENT"


def test_login_is_closed_to_other_pages_and_to_large_bodies(edge: Edge) -> None:
    assert edge.ask("POST", "/v1/login", {"name": "a"}, Origin="https://evil.example")[0] == 403
    # Only announced: the edge ends the connection at once, and a body that is still on its way would take the answer back.
    assert edge.ask("POST", "/v1/login", b"", Content_Length="20000")[0] in (400, 413)
    assert edge.ask("GET", "/v1/login")[0] == 405


def test_assignment_asks_the_router_and_falls_back_to_this_edge(edge: Edge) -> None:
    status, _, body = edge.ask("GET", "/v1/assign")
    assert (status, json.loads(body)) == (200, {"edge_id": "edge-1", "url": f"ws://{edge.address}"})
    edge.assigned = AssignedEdge("edge-2", "wss://two.example")
    status, headers, body = edge.ask("POST", "/v1/assign", Origin=f"http://{edge.address}")
    assert json.loads(body) == {"edge_id": "edge-2", "url": "wss://two.example"}
    assert headers["access-control-allow-origin"] == f"http://{edge.address}"
    assert edge.ask("GET", "/v1/assign", Origin="https://evil.example")[0] == 403
    assert edge.ask("OPTIONS", "/v1/assign", Origin=f"http://{edge.address}")[0] == 204


def test_the_page_is_served_with_its_headers(edge: Edge) -> None:
    status, headers, body = edge.ask("GET", "/")
    assert (status, body) == (200, b"<!doctype html><p>page")
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-cache"
    assert "server" not in headers
    assert edge.ask("GET", "/group/lobby")[2] == body
    assert edge.ask("GET", "/", If_None_Match=headers["etag"])[0] == 304
    assert edge.ask("HEAD", "/")[2] == b""


def test_hashed_files_are_kept_for_ever_and_compressed(edge: Edge) -> None:
    status, headers, body = edge.ask("GET", "/assets/index-AbCd1234.js", Accept_Encoding="gzip")
    assert status == 200
    assert "immutable" in headers["cache-control"]
    assert headers["content-encoding"] == "gzip"
    assert len(body) < 200
    assert edge.ask("GET", "/assets/index-AbCd1234.js")[2] == b"let a;\n" * 200


@pytest.mark.parametrize("path", ["/v1/nothing", "/assets/none.js", "/..%2f..%2fetc/passwd.txt", "/favicon.ico"])
def test_what_is_not_there_is_404_in_json(edge: Edge, path: str) -> None:
    status, headers, body = edge.ask("GET", path)
    assert status == 404
    assert headers["content-type"].startswith("application/json")
    assert set(json.loads(body)) == {"code", "text"}


def test_operators_get_their_answers(edge: Edge) -> None:
    assert edge.ask("GET", "/healthz")[0] == 200
    assert edge.ask("GET", "/readyz")[0] == 200
    edge.readiness.upstream_reachable = False
    status, _, body = edge.ask("GET", "/readyz")
    assert (status, json.loads(body)["upstream_reachable"]) == (503, False)
    status, headers, body = edge.ask("GET", "/metrics")
    assert (status, body) == (200, b"throng_edge_connections 1.0\n")
    assert headers["content-type"].startswith("text/plain")


def test_the_page_learns_what_it_needs(edge: Edge) -> None:
    _, _, body = edge.ask("GET", "/v1/config")
    assert json.loads(body) == {"dev_login": True, "groups": ["lobby"], "version": "1.2.3", "ws_path": "/ws"}
