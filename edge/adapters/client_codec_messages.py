"""The little that sessions know of a serialized Message: `MessageCodec` over the generated API."""

from __future__ import annotations

from throng.api.common.v1 import message_pb2


class ProtoMessageCodec:
    """`MessageCodec`."""

    def blanked(self, message: bytes, recalled_by_seq: int) -> bytes:
        """The message as the store gives it after its recall: nothing of what was submitted is left."""
        parsed = message_pb2.Message.FromString(message)
        parsed.ClearField("content")
        parsed.ClearField("mentions")
        parsed.ClearField("reply_to_seq")
        parsed.DiscardUnknownFields()
        parsed.recalled_by_seq = recalled_by_seq
        return parsed.SerializeToString()

    def recall_target(self, message: bytes) -> int:
        """The seq that a recall event takes back; 0: no recall event."""
        return message_pb2.Message.FromString(message).recall.target_seq

    def recall_body(self, target_seq: int) -> bytes:
        """The body of the submission that takes a message back."""
        return message_pb2.Message(recall=message_pb2.Recall(target_seq=target_seq)).SerializeToString(deterministic=True)
