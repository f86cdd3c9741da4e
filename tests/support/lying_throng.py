"""An edge and a group service in one small thread that keep the protocol but for one lie per group, named by the group's id."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent import futures
from urllib.parse import parse_qs, urlsplit

import grpc

from edge.protocol.frames import binary_frame
from edge.protocol.handshake import accept_key
from edge.protocol.masking import unmask
from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import error_pb2, group_pb2, message_pb2
from throng.api.group.v1 import group_pb2 as service_pb2
from throng.api.group.v1 import group_pb2_grpc, message_pb2_grpc
from throng.api.group.v1 import message_pb2 as messages_pb2

LIE_AT = 4
"""The lie begins with the message of this number in each group, counted from 1."""


STUBBORN = frozenset({"lost-tail", "no-time", "held-up"})
"""Lies that are told from there on."""

HELD_UP_SECONDS = 2.0


class Group:
    """The history of one group, and who listens."""

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.history: list[message_pb2.Message] = []
        self.listeners: list[asyncio.StreamWriter] = []
        self.noticed: list[asyncio.StreamWriter] = []
        self.head = 0
        self.sent = 0
        self.held_back: Callable[[], None] | None = None
        self.never_acked: set[str] = set()
        self.entered = 0

    def store(self, sender_id: str, send: client_pb2.Send) -> message_pb2.Message:
        self.head += 1
        text = message_pb2.Text(text=send.text.text)
        made = message_pb2.Message(seq=self.head, sender_id=sender_id, client_msg_id=send.client_msg_id, text=text)
        self.history.append(made)
        return made

    def find(self, client_msg_id: str) -> message_pb2.Message | None:
        return next((one for one in self.history if one.client_msg_id == client_msg_id), None)


class LyingThrong:
    """Use as a context manager; `url` and `group_address` are what a bench is given."""

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="lying-throng")
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool = futures.ThreadPoolExecutor(4)
        self._grpc = grpc.server(self._pool)
        self.url = self.group_address = ""
        self.connections = 0
        self.most_connections = 1_000_000
        """Later ones are turned away."""
        self.goodbyes: dict[str, int] = {}
        """By group: after so many messages all of its connections are closed."""

    def __enter__(self) -> LyingThrong:
        group_pb2_grpc.add_GroupServiceServicer_to_server(_Groups(self), self._grpc)
        message_pb2_grpc.add_MessageServiceServicer_to_server(_Messages(self), self._grpc)
        self.group_address = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self._grpc.start()
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._grpc.stop(None).wait(5)
        self._pool.shutdown()

    def group(self, group_id: str) -> Group:
        return self.groups.setdefault(group_id, Group(group_id))

    def _serve(self) -> None:
        async def serve() -> None:
            self._stop = asyncio.Event()
            server = await asyncio.start_server(self._client, "127.0.0.1", 0)
            self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self._ready.set()
            await self._stop.wait()
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(serve())

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for group in self.groups.values():
                for those in (group.listeners, group.noticed):
                    if writer in those:
                        those.remove(writer)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.connections += 1
        if self.connections > self.most_connections:
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
            return
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        writer.write(f"{upgrade}Sec-WebSocket-Accept: {accept_key(fields['Sec-WebSocket-Key'])}\r\n\r\n".encode())
        say(writer, client_pb2.ServerFrame(welcome=client_pb2.Welcome(edge_id="liar", heartbeat_interval_ms=60_000)))
        # Who it is stands in the token; the names of a bench's senders are enough here.
        import json
        from base64 import urlsafe_b64decode

        claims = fields["Authorization"].split(".")[1]
        user_id = json.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"]
        asked = parse_qs(urlsplit(head.split(" ")[1]).query)
        delivery = group_pb2.DELIVERY_NOTIFY if asked.get("delivery") == ["notify"] else group_pb2.DELIVERY_INLINE
        for group_id in asked.get("groups", []):
            enter = client_pb2.Enter(group_id=group_id, delivery=delivery)
            self._answer(writer, user_id, client_pb2.ClientFrame(enter=enter))
        while True:
            first, second = await reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                size = int.from_bytes(await reader.readexactly(2), "big")
            mask = await reader.readexactly(4)
            payload = unmask(await reader.readexactly(size), mask)
            if first & 0x0F == 8:
                return
            if first & 0x0F == 2:
                self._answer(writer, user_id, client_pb2.ClientFrame.FromString(payload))

    def _answer(self, writer: asyncio.StreamWriter, user_id: str, asked: client_pb2.ClientFrame) -> None:
        kind = asked.WhichOneof("request")
        if kind == "enter":
            group = self.group(asked.enter.group_id)
            told = group_pb2.Group(group_id=group.group_id, epoch=1, head_seq=group.head)
            say(writer, client_pb2.ServerFrame(request_id=asked.request_id, entered=client_pb2.Entered(group=told)))
            if asked.enter.delivery == group_pb2.DELIVERY_NOTIFY:
                group.noticed.append(writer)
            else:
                group.listeners.append(writer)
                group.entered += 1
                if group.group_id == "drops-one" and group.entered == 1:
                    self._loop.call_later(0.3, writer.close)
        elif kind == "pull":
            group = self.group(asked.pull.group_id)
            found = [one for one in group.history if asked.pull.after_seq < one.seq <= asked.pull.up_to_seq]
            after = found[0].seq - 1 if found else asked.pull.after_seq
            last = found[-1].seq if found else after
            pulled = client_pb2.Pulled(
                group_id=group.group_id, epoch=1, after_seq=after, up_to_seq=last, head_seq=group.head, messages=found
            )
            say(writer, client_pb2.ServerFrame(request_id=asked.request_id, pulled=pulled))
        elif kind == "send":
            group = self.group(asked.send.group_id)
            Submission(group, writer, user_id, asked).take()
            if group.sent == self.goodbyes.get(group.group_id):
                for listener in [*group.listeners, *group.noticed]:
                    listener.close()


class Submission:
    """One message that a sender sent."""

    def __init__(self, group: Group, writer: asyncio.StreamWriter, user_id: str, asked: client_pb2.ClientFrame) -> None:
        self.group, self.writer, self.user_id, self.send = group, writer, user_id, asked.send
        self.request_id = asked.request_id

    def take(self) -> None:
        """Honestly, but for the one lie."""
        group = self.group
        if self.send.client_msg_id in group.never_acked:
            return
        known = group.find(self.send.client_msg_id)
        if known is not None:
            self.ack(known.seq)
            return
        group.sent += 1
        lie = getattr(self, f"lie_{group.group_id.replace('-', '_')}", None)
        if lie is not None and (group.sent == LIE_AT or (group.sent > LIE_AT and group.group_id in STUBBORN)):
            lie()
        else:
            self.honest()
            if group.held_back is not None:
                group.held_back()
                group.held_back = None

    def honest(self) -> None:
        made = self.group.store(self.user_id, self.send)
        self.ack(made.seq)
        self.publish(made.seq - 1, made)

    def ack(self, seq: int, *, epoch: int = 1) -> None:
        ack = client_pb2.Ack(group_id=self.group.group_id, client_msg_id=self.send.client_msg_id, epoch=epoch, seq=seq)
        say(self.writer, client_pb2.ServerFrame(request_id=self.request_id, ack=ack))

    def publish(self, prev_seq: int, *messages: message_pb2.Message, group_id: str = "", only_first: bool = False) -> None:
        block = message_pb2.Block(group_id=group_id or self.group.group_id, epoch=1, prev_seq=prev_seq, messages=messages)
        for writer in self.group.listeners[: 1 if only_first else None]:
            say(writer, client_pb2.ServerFrame(block=block))
        if not group_id:
            notice = client_pb2.Notice(group_id=self.group.group_id, epoch=1, head_seq=messages[-1].seq)
            for writer in self.group.noticed:
                say(writer, client_pb2.ServerFrame(notice=notice))

    def lie_lost_tail(self) -> None:
        self.ack(self.group.store(self.user_id, self.send).seq)

    def lie_twice_stored(self) -> None:
        first, second = self.group.store(self.user_id, self.send), self.group.store(self.user_id, self.send)
        self.ack(first.seq)
        self.publish(first.seq - 1, first, second)

    def lie_twice_delivered(self) -> None:
        """No lie: the protocol lets a server repeat itself."""
        made = self.group.store(self.user_id, self.send)
        self.ack(made.seq)
        self.publish(made.seq - 1, made)
        self.publish(made.seq - 1, made)

    def lie_swapped(self) -> None:
        made = self.group.store(self.user_id, self.send)
        self.ack(made.seq)
        self.publish(made.seq - 2, made, self.group.history[-2])

    def lie_foreign(self) -> None:
        self.honest()
        self.publish(0, self.group.history[-1], group_id="somebody-elses")

    def lie_ack_only(self) -> None:
        self.ack(self.group.head + 1)

    def lie_no_ack(self) -> None:
        made = self.group.store(self.user_id, self.send)
        self.group.never_acked.add(self.send.client_msg_id)
        self.publish(made.seq - 1, made)

    def lie_two_contents(self) -> None:
        made = self.group.store(self.user_id, self.send)
        self.ack(made.seq)
        other = message_pb2.Message.FromString(made.SerializeToString())
        other.text.text = made.text.text[:-1] + "y"
        self.publish(made.seq - 1, other, only_first=True)
        self.publish(made.seq - 1, made)

    def lie_other_request(self) -> None:
        self.request_id += 1
        self.honest()

    def lie_other_epoch(self) -> None:
        made = self.group.store(self.user_id, self.send)
        self.ack(made.seq, epoch=2)
        self.publish(made.seq - 1, made)

    def lie_other_ack(self) -> None:
        self.honest()
        self.ack(self.group.head + 7)

    def lie_reject_then_ack(self) -> None:
        code = error_pb2.ERROR_CODE_RATE_LIMITED
        reject = client_pb2.Reject(
            group_id=self.group.group_id, client_msg_id=self.send.client_msg_id, code=code, retry_after_ms=5_000
        )
        say(self.writer, client_pb2.ServerFrame(request_id=self.request_id, reject=reject))
        self.honest()

    def lie_no_time(self) -> None:
        """Says that the group is busy, and not until when."""
        code = error_pb2.ERROR_CODE_GROUP_BUSY
        reject = client_pb2.Reject(group_id=self.group.group_id, client_msg_id=self.send.client_msg_id, code=code)
        say(self.writer, client_pb2.ServerFrame(request_id=self.request_id, reject=reject))

    def lie_held_up(self) -> None:
        """Right in the end, but late for everybody."""
        made = self.group.store(self.user_id, self.send)
        self.ack(made.seq)
        asyncio.get_running_loop().call_later(HELD_UP_SECONDS, self.publish, made.seq - 1, made)

    def lie_hole(self) -> None:
        self.group.head += 1
        made = self.group.store(self.user_id, self.send)
        self.ack(made.seq)
        self.publish(made.seq - 1, made)

    def lie_session(self) -> None:
        self.group.held_back = self.honest


def say(writer: asyncio.StreamWriter, frame: client_pb2.ServerFrame) -> None:
    """Sends one frame."""
    writer.write(binary_frame(frame.SerializeToString()))


class _Groups(group_pb2_grpc.GroupServiceServicer):
    def __init__(self, throng: LyingThrong) -> None:
        self._throng = throng

    def AddMembers(self, request, context):  # noqa: N802
        self._throng.group(request.group_id)
        return service_pb2.AddMembersResponse(added=len(request.members))

    def GetHeads(self, request, context):  # noqa: N802
        heads = [self._throng.group(group_id) for group_id in request.group_ids]
        return service_pb2.GetHeadsResponse(
            heads=[service_pb2.GroupHead(group_id=one.group_id, epoch=1, head_seq=one.head) for one in heads]
        )


class _Messages(message_pb2_grpc.MessageServiceServicer):
    def __init__(self, throng: LyingThrong) -> None:
        self._throng = throng

    def ListMessages(self, request, context):  # noqa: N802
        group = self._throng.group(request.group_id)
        found = [one for one in group.history if request.after_seq < one.seq <= request.up_to_seq][: request.limit]
        return messages_pb2.ListMessagesResponse(epoch=1, head_seq=group.head, after_seq=request.after_seq, messages=found)
