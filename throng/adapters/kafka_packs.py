"""Records of one partition packed into one record of the log (hop 2): kafka-python costs as much for one as for fifty."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from kafka.partitioner.default import DefaultPartitioner, murmur2

from throng.ports.uplink import MAX_PACK

_PACK_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Packing:
    """How records become one.

    Attributes:
        join: makes one value of several, in order.
        max_bytes: of values in one pack, with what they cost beside; a larger one goes alone. It must be far below what the topic
            takes, so that no record is refused for another's size.
    """

    join: Callable[[Sequence[bytes]], bytes]
    max_bytes: int = _PACK_BYTES

    @classmethod
    def for_topic(cls, join: Callable[[Sequence[bytes]], bytes], max_message_bytes: int) -> Packing:
        """A quarter of what the topic takes, at most 128 KiB."""
        return cls(join, min(_PACK_BYTES, max_message_bytes // 4))


_REMEMBERED_KEYS = 50_000


class Partitioner(DefaultPartitioner):  # type: ignore[misc]
    """Kafka's own choice for a key, with the hashes of the newest keys remembered: murmur2 in Python costs a third of `send`."""

    def __init__(self) -> None:
        self._hash = functools.lru_cache(maxsize=_REMEMBERED_KEYS)(murmur2)

    def partition(self, topic: str, key: Any, serialized_key: bytes | None, *values_and_cluster: Any) -> int:
        """As the default; our records have keys."""
        partitions = values_and_cluster[-1].partitions_for_topic(topic)
        if serialized_key is None or not partitions:
            return int(super().partition(topic, key, serialized_key, *values_and_cluster))
        return self.of(serialized_key, partitions)

    def of(self, key: bytes, partitions: Collection[int]) -> int:
        """The partition of a key."""
        place = (self._hash(key) & 0x7FFFFFFF) % len(partitions)
        return place if place in partitions else int(sorted(partitions)[place])


def packs_of(
    keys: Sequence[bytes],
    sizes: Sequence[int],
    partitions: Collection[int],
    partitioner: Partitioner,
    *,
    max_bytes: int = _PACK_BYTES,
) -> list[tuple[int, list[int]]]:
    """Sorts records, given by key and bytes, into (partition, indexes), each a pack of at most MAX_PACK and `max_bytes`.

    Within a partition the order stays.
    """
    packs: list[tuple[int, list[int]]] = []
    opened: dict[int, list[int]] = {}
    filled: dict[int, int] = {}
    for index, (key, size) in enumerate(zip(keys, sizes, strict=True)):
        partition = partitioner.of(key, partitions)
        pack = opened.get(partition)
        if pack is None or len(pack) >= MAX_PACK or filled[partition] + size > max_bytes:
            pack = opened[partition] = []
            filled[partition] = 0
            packs.append((partition, pack))
        pack.append(index)
        filled[partition] += size
    return packs
