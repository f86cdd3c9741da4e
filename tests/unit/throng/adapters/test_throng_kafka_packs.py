"""Several submissions as one record of the log: what goes together, what is read back, what is no submission (I4)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka_traffic import message

from throng.adapters.kafka_packs import Packing, Partitioner, packs_of
from throng.adapters.submission_codec import Unreadable, decode, decode_all, encode, join
from throng.api.uplink.v1 import uplink_pb2
from throng.domain.errors import ErrorCode, ThrongError
from throng.ports.uplink import MAX_PACK


@given(
    st.lists(st.tuples(st.sampled_from([f"group-{number}".encode() for number in range(9)]), st.integers(1, 50_000)), max_size=300),
    st.integers(1, 5),
)
def test_packs_keep_the_order_of_a_partition_and_their_bounds(records: list[tuple[bytes, int]], partitions: int) -> None:
    partitioner, numbers = Partitioner(), set(range(partitions))
    most = Packing.for_topic(join, 1_000_000).max_bytes
    packs = packs_of([key for key, _ in records], [size for _, size in records], numbers, partitioner)
    assert sorted(itertools.chain.from_iterable(pack for _, pack in packs)) == list(range(len(records)))
    for partition, pack in packs:
        assert {partitioner.of(records[index][0], numbers) for index in pack} == {partition}
        assert 0 < len(pack) <= MAX_PACK
        assert len(pack) == 1 or sum(records[index][1] for index in pack) <= most
    for number in numbers:
        in_order = [index for partition, pack in packs if partition == number for index in pack]
        assert in_order == sorted(in_order)


def test_a_record_is_read_as_it_was_joined() -> None:
    submissions = [message(f"g{number}", "x" * 50 * number) for number in range(MAX_PACK)]
    assert decode_all(join([encode(one) for one in submissions])) == submissions
    assert decode_all(join([encode(submissions[5])])) == [submissions[5]] == [decode(encode(submissions[5]))]


def test_a_part_that_is_no_submission_is_unreadable_alone() -> None:
    good, bad = message("g"), uplink_pb2.SubmittedMessage.FromString(encode(message("g")))
    bad.user_id = "not an identifier"
    for parts in ([good, bad], [bad, good]):
        encoded = [part.SerializeToString() if part is bad else encode(part) for part in parts]
        read = decode_all(join(encoded))
        assert [isinstance(part, Unreadable) for part in read] == [part is bad for part in parts]
        (letter,) = (part for part in read if isinstance(part, Unreadable))
        assert uplink_pb2.SubmittedMessage.FromString(letter.value) == bad


def test_a_record_with_too_many_parts_is_none_of_ours() -> None:
    with pytest.raises(ThrongError) as caught:
        decode_all(join([encode(message("g"))] * (MAX_PACK + 1)))
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT
