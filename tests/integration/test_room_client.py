"""The neutral client of `make bench` against a room that loses, doubles, swaps, joins and cuts: it must say exactly what happened."""

from __future__ import annotations

import asyncio
import json
import pathlib
from collections.abc import Callable

import pytest
from c_clients import compiled

_SOURCE = pathlib.Path(__file__).parents[1] / "load" / "peers" / "room_client.c"
_UPGRADED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
_MEMBERS, _LIAR, _MESSAGES = 6, 3, 10

Rule = Callable[[int, int, bytes], list[bytes]]
"""(place of the member, number of the message, its text) to the frames that the member gets now."""


def _frame(payload: bytes, opcode: int = 1) -> bytes:
    length = len(payload)
    head = bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2) if length < 65536 else b"\x7f" + length.to_bytes(8)
    return bytes([0x80 | opcode]) + head + payload


class _Room:
    """Publishes what is posted to everybody, as the rule has it; cuts what it writes into pieces of `cut_bytes`."""

    def __init__(self, rule: Rule, cut_bytes: int = 0) -> None:
        self._rule = rule
        self._cut_bytes = cut_bytes
        self._members: list[asyncio.StreamWriter] = []
        self._published = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: a member, or the one that posts."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET"):
                self._members.append(writer)
                writer.write(_UPGRADED)
                await reader.read()
                return
            while True:
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await self._publish(await reader.readexactly(length))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _publish(self, text: bytes) -> None:
        self._published += 1
        for place, member in enumerate(self._members):
            data = b"".join(self._rule(place, self._published, text))
            step = self._cut_bytes or len(data) or 1
            for start in range(0, len(data), step):
                member.write(data[start : start + step])
                await asyncio.sleep(0)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The compiled client."""
    return compiled(_SOURCE, tmp_path_factory.mktemp("client"))


async def _run(client: pathlib.Path, room: _Room, *arguments: str) -> dict[str, float]:
    server = await asyncio.start_server(room.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    fixed = ["--port", str(port), "--members", str(_MEMBERS), "--settle", "0"]
    running = await asyncio.create_subprocess_exec(
        client, *fixed, *arguments, f"rate:200:{_MESSAGES / 200}", stdout=asyncio.subprocess.PIPE
    )
    try:
        output, _ = await asyncio.wait_for(running.communicate(), 30)
    finally:
        server.close()
    phases: list[dict[str, float]] = [json.loads(line) for line in output.splitlines()]
    assert phases[0]["taking_part"] == _MEMBERS
    return phases[1]


def _honest(place: int, number: int, text: bytes) -> list[bytes]:
    return [_frame(text)]


def _loses(place: int, number: int, text: bytes) -> list[bytes]:
    return [] if (place, number) == (_LIAR, 5) else [_frame(text)]


def _doubles(place: int, number: int, text: bytes) -> list[bytes]:
    return [_frame(text)] * (2 if (place, number) == (_LIAR, 5) else 1)


def _swaps() -> Rule:
    held: list[bytes] = []

    def rule(place: int, number: int, text: bytes) -> list[bytes]:
        if place != _LIAR or number not in (5, 6):
            return [_frame(text)]
        held.append(text)
        return [] if number == 5 else [_frame(held[1]), _frame(held[0])]

    return rule


def _joins(place: int, number: int, text: bytes) -> list[bytes]:
    """Two frames with a ping between them, one of them long, in an envelope."""
    return [_frame(b"who is there", 9), _frame(b'{"t":"' + text + b'","pad":"' + b"y" * 70_000 + b'"}')]


def _closes(place: int, number: int, text: bytes) -> list[bytes]:
    return [_frame(b"\x03\xe8", 8)] if (place, number) == (_LIAR, 5) else [_frame(text)]


_FAULTS = ("lost", "duplicated", "reordered", "disagreeing", "disconnected")


@pytest.mark.parametrize(
    ("rule", "cut_bytes", "expected"),
    [
        pytest.param(lambda: _honest, 0, {}, id="honest"),
        pytest.param(lambda: _honest, 37, {}, id="cut"),
        pytest.param(lambda: _joins, 4_099, {}, id="long-and-pinged"),
        pytest.param(lambda: _loses, 0, {"lost": 1}, id="loses"),
        pytest.param(lambda: _doubles, 0, {"duplicated": 1}, id="doubles"),
        pytest.param(_swaps, 0, {"reordered": 1, "disagreeing": 1}, id="swaps"),
        pytest.param(lambda: _closes, 0, {"disconnected": 1}, id="closes"),
    ],
)
def test_it_says_exactly_what_a_room_did(
    client: pathlib.Path, rule: Callable[[], Rule], cut_bytes: int, expected: dict[str, int]
) -> None:
    phase = asyncio.run(_run(client, _Room(rule(), cut_bytes)))
    assert phase["published"] == _MESSAGES
    assert {name: phase[name] for name in _FAULTS} == dict.fromkeys(_FAULTS, 0) | expected


def test_several_publishers_are_judged_each_by_its_own_order_and_all_members_by_one(client: pathlib.Path) -> None:
    """The server may choose the order between publishers, but not a different one for one member."""

    class Chatty(_Room):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                self._members.append(writer)
                writer.write(_UPGRADED)
                while True:
                    head = await reader.readexactly(2)
                    length = head[1] & 127
                    if length == 126:
                        length = int.from_bytes(await reader.readexactly(2))
                    await reader.readexactly(4)
                    await self._publish(await reader.readexactly(length))
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            finally:
                writer.close()

    options = ["--publish", "ws", "--publishers", "2"]
    phase = asyncio.run(_run(client, Chatty(_swaps()), *options))
    assert {name: phase[name] for name in _FAULTS} == dict.fromkeys(_FAULTS, 0) | {"disagreeing": 1}
