"""Counts bytes per message on the way to a client: protobuf beside JSON, blocks of several sizes, with compression and without.

The frames are those that an edge makes, WebSocket header included; TCP and IP are not. The chats in `chats/` are written for this, a line
a message, said by people with names of some length. Compression is permessage-deflate without context takeover: each frame stands alone,
so one compressed frame serves every client. Needs no server; the same figures come out on every machine.

    python tests/load/bytes_per_message.py [--level 6] [--messages 2000]
"""

from __future__ import annotations

import argparse
import pathlib
import random
import sys
import uuid
import zlib
from collections.abc import Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from edge.adapters.client_codec_json import JsonClientCodec
from edge.adapters.client_codec_protobuf import ProtobufClientCodec
from edge.core.codec import ClientCodec
from edge.core.responses import Block, Notice
from edge.protocol.frames import binary_frame, text_frame
from throng.api.client.v1 import client_pb2
from throng.api.common.v1 import message_pb2

GROUP = "spring-sale-2025"
BLOCKS = (1, 10, 50)
NAMES = {
    "zh": [
        "小雨",
        "阿明",
        "春天的风",
        "老王",
        "Lucy",
        "北方的狼",
        "糖糖",
        "张伟",
        "一只橘猫",
        "晓晓",
        "李雷",
        "夜航船",
        "布丁",
        "陈先生",
        "大海",
        "Momo",
        "半糖",
        "木木",
        "赵小姐",
        "星河",
    ],
    "en": [
        "Anna",
        "tom_k",
        "Priya S.",
        "Old Joe",
        "luzia",
        "Marek",
        "The Baker",
        "kim",
        "Sam O'Neil",
        "nightowl",
        "Greta",
        "J. Alvarez",
        "bo",
        "Hanna W.",
        "rio",
        "Chidi",
        "Mei",
        "paul77",
    ],
}


def talk(language: str, count: int) -> list[bytes]:
    """Stored messages of one group as an edge gets them."""
    folder = pathlib.Path(__file__).parent / "chats"
    lines = (folder / f"{language}.txt").read_text(encoding="utf-8").splitlines()
    dice = random.Random(7)
    people = [(f"u{dice.randrange(10**7, 10**8)}", name) for name in NAMES[language]]
    sent_at_ms = 1_741_700_000_000
    made = []
    for number in range(count):
        user_id, name = dice.choice(people)
        sent_at_ms += dice.randrange(30, 2_000)
        message = message_pb2.Message(
            seq=184_000 + number,
            sender_id=user_id,
            sender_name=name,
            client_msg_id=str(uuid.UUID(int=dice.getrandbits(128), version=4)),
            sent_at_ms=sent_at_ms,
            lane=message_pb2.LANE_NORMAL,
            text=message_pb2.Text(text=dice.choice(lines)),
        )
        if dice.random() < 0.04:
            message.mentions.append(dice.choice(people)[0])
        if dice.random() < 0.06:
            message.reply_to_seq = message.seq - dice.randrange(1, 20)
        made.append(message.SerializeToString())
    return made


def deflated(payload: bytes, level: int) -> bytes:
    """As RFC 7692 says: raw deflate, flushed, without the four bytes at its end."""
    squeeze = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (squeeze.compress(payload) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]


def payload_of(frame: bytes) -> bytes:
    """What stands in an unmasked frame."""
    short = frame[1] & 0x7F
    return frame[{126: 4, 127: 10}.get(short, 2) :]


def sizes(codec: ClientCodec, messages: Sequence[bytes], in_block: int, level: int) -> tuple[float, float]:
    """Bytes per message, plain and compressed."""
    wrap = binary_frame if isinstance(codec, ProtobufClientCodec) else text_frame
    plain = squeezed = 0
    for start in range(0, len(messages), in_block):
        some = messages[start : start + in_block]
        frame = codec.frame(codec.prepare(Block(GROUP, 1, 183_999 + start, some)))
        plain += len(frame)
        squeezed += len(wrap(deflated(payload_of(frame), level)))
    return plain / len(messages), squeezed / len(messages)


def small_frames() -> list[str]:
    """Rows for frames that carry no stored message."""
    send = client_pb2.ClientFrame(request_id=17)
    send.send.group_id, send.send.client_msg_id = GROUP, "0f8b9c52-9a3b-4c8e-bb6b-6f3a0c9d1e42"
    send.send.text.text = "ok setting an alarm"
    from google.protobuf import json_format

    as_json = len(json_format.MessageToJson(send, indent=None, ensure_ascii=False).encode())
    notice = Notice(GROUP, 1, 184_000)
    json_codec, codec = JsonClientCodec(), ProtobufClientCodec()
    notices = [len(one.frame(one.prepare(notice))) for one in (json_codec, codec)]
    rows = [("`send` of 19 characters (masked, 6 to 8 bytes of header)", as_json + 8, len(send.SerializeToString()) + 6)]
    rows.append(("`notice`", *notices))
    return [f"| {name} | {plain} | {small} | {1 - small / plain:.0%} |" for name, plain, small in rows]


def main() -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--level", type=int, default=6, help="Of zlib, 1 to 9.")
    parser.add_argument("--messages", type=int, default=2_000)
    arguments = parser.parse_args()
    print(
        "| chat | messages in a block | JSON | protobuf | saved | JSON, deflated | protobuf, deflated | saved of JSON alone, one by one |"
    )
    print("|" + " --- |" * 8)
    for language in NAMES:
        messages = talk(language, arguments.messages)
        text = sum(len(message_pb2.Message.FromString(one).text.text.encode()) for one in messages) / len(messages)
        first = sizes(JsonClientCodec(), messages, 1, arguments.level)[0]
        for in_block in BLOCKS:
            json_plain, json_small = sizes(JsonClientCodec(), messages, in_block, arguments.level)
            plain, small = sizes(ProtobufClientCodec(), messages, in_block, arguments.level)
            print(
                f"| {language}, {text:.0f} bytes of text | {in_block} | {json_plain:.0f} | {plain:.0f} | {1 - plain / json_plain:.0%}"
                f" | {json_small:.0f} | {small:.0f} | {1 - small / first:.0%} |"
            )
    print("\n| frame | JSON | protobuf | saved |\n|" + " --- |" * 4)
    print("\n".join(small_frames()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
