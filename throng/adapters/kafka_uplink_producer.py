"""`UplinkProducer` over Kafka (hop 2): key `group_id`, value throng.uplink.v1.SubmittedMessage."""

from __future__ import annotations

from throng.adapters.kafka_options import KafkaAccess, SenderLimits, TopicSettings
from throng.adapters.kafka_packs import Packing
from throng.adapters.kafka_sender import KafkaSender
from throng.adapters.kafka_topic import ensure_topics
from throng.adapters.submission_codec import encode, join
from throng.domain.message import Submission
from throng.ports.uplink import AppendDone


class KafkaUplinkProducer:
    """Submissions of one partition that wait together go as one record (ADR 0012).

    Overflow policy: above the bounds, and while Kafka is away for longer than a moment, refuse with UNAVAILABLE.

    `done` runs on a thread of this producer, or at once when the record is refused.
    """

    def __init__(
        self, access: KafkaAccess, topic: TopicSettings, limits: SenderLimits | None = None, *, name: str = "throng-uplink"
    ) -> None:
        """Opens nothing yet."""
        self.sender = KafkaSender(
            access,
            access.topic,
            limits or SenderLimits(),
            prepare=lambda opening: ensure_topics(access, topic, opening),
            name=name,
            packing=Packing.for_topic(join, topic.max_message_bytes),
        )

    def start(self) -> None:
        """Starts its threads; Kafka need not be there, nor the topic, which is made when it is."""
        self.sender.start()

    @property
    def records_in_flight(self) -> int:
        """Records appended and not settled."""
        return self.sender.records_in_flight

    def append(self, submission: Submission, done: AppendDone) -> None:
        """Appends one record; see the port."""
        self.sender.append(submission.group_id.encode(), encode(submission), done)

    def close(self, deadline_seconds: float) -> None:
        """Waits for acknowledgements, at most so long, then fails the rest. Idempotent."""
        self.sender.close(deadline_seconds)
