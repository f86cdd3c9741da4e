"""Both client subprotocols over the generated API (hops 1 and 7)."""

from __future__ import annotations

from edge.adapters.client_codec_json import JsonClientCodec
from edge.adapters.client_codec_messages import ProtoMessageCodec
from edge.adapters.client_codec_protobuf import ProtobufClientCodec
from edge.core.codec import Codecs


def make_codecs() -> Codecs:
    """Makes the codecs of an edge."""
    return Codecs(protobuf=ProtobufClientCodec(), json=JsonClientCodec(), messages=ProtoMessageCodec())
