"""The examples in tests/vectors, which the page's SDK reads as well."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
from google.protobuf import json_format

from edge.adapters.client_codec import make_codecs
from throng.api.client.v1 import client_pb2

_FILE = pathlib.Path(__file__).resolve().parents[2] / "vectors" / "frames.json"
VECTORS: dict[str, list[dict[str, Any]]] = json.loads(_FILE.read_text(encoding="utf-8"))


def _names(kind: str) -> list[str]:
    return [vector["name"] for vector in VECTORS[kind]]


@pytest.mark.parametrize("vector", VECTORS["client"], ids=_names("client"))
def test_both_subprotocols_read_a_request_alike(vector: dict[str, Any]) -> None:
    codecs = make_codecs()
    from_binary = codecs.protobuf.decode(bytes.fromhex(vector["hex"]))
    assert codecs.json.decode(json.dumps(vector["json"]).encode()) == from_binary
    assert from_binary.request_id == int(vector["json"].get("requestId", 0))


@pytest.mark.parametrize("vector", VECTORS["server"], ids=_names("server"))
def test_server_frames_mean_the_same_in_both_forms(vector: dict[str, Any]) -> None:
    frame = client_pb2.ServerFrame.FromString(bytes.fromhex(vector["hex"]))
    assert json_format.MessageToDict(frame) == vector["json"]
    assert frame.SerializeToString(deterministic=True).hex() == vector["hex"]


def test_every_frame_of_the_protocol_has_an_example() -> None:
    requests = {field.name for field in client_pb2.ClientFrame.DESCRIPTOR.oneofs[0].fields}
    seen = {client_pb2.ClientFrame.FromString(bytes.fromhex(vector["hex"])).WhichOneof("request") for vector in VECTORS["client"]}
    assert seen == requests
