"""What is sent to which node, and what is sent again: exchanges without Redis."""

from __future__ import annotations

from typing import Any

import pytest
import redis.exceptions
from redis.crc import key_slot

from throng.adapters.redis_calls import MAX_ROUNDS, SINGLE, Batch, Call, Exchange, Script, SlotMap, command

A, B = ("10.0.0.1", 7000), ("10.0.0.2", 7000)
SLOTS = [[0, 8_191, [b"10.0.0.1", 7000, b"id"]], [8_192, 16_383, [b"10.0.0.2", 7000, b"id"], [b"10.0.0.9", 7000, b"replica"]]]
IN_A, IN_B = "throng:x:{b}", "throng:x:{a}"
NOSCRIPT = redis.exceptions.NoScriptError("none")


def slots() -> SlotMap:
    return SlotMap(SLOTS, asked=A)


def script() -> Script:
    return Script("group_svc.adapters.lua", "recent_read.lua")


def sent(exchange: Exchange, batch: Batch) -> list[Any]:
    return [args[0] for args in exchange.commands(batch)]


def test_the_keys_of_these_tests_lie_where_they_should() -> None:
    assert key_slot(IN_A.encode()) < 8_192 <= key_slot(IN_B.encode())


def test_calls_go_to_the_node_of_their_key_in_order() -> None:
    exchange = Exchange([command("GET", IN_A), command("GET", IN_B), command("DEL", IN_A)], set())
    first, second = exchange.batches(slots())
    assert (first.address, first.calls, second.address, second.calls) == (A, [0, 2], B, [1])
    exchange.answered(second, [b"b"], None)
    exchange.answered(first, [b"a", 1], None)
    assert exchange.batches(slots()) == []
    assert exchange.results == [b"a", b"b", 1]


def test_a_script_is_loaded_before_its_first_call_and_again_when_it_was_lost() -> None:
    loaded: set[Any] = set()
    one = script()
    for flushed in (False, False, True):
        exchange = Exchange([one.on([IN_A], [])], loaded)
        (batch,) = exchange.batches(None)
        expected = ["SCRIPT", "EVALSHA"] if not loaded else ["EVALSHA"]
        assert sent(exchange, batch) == expected
        if flushed:
            exchange.answered(batch, [NOSCRIPT], None)
            (batch,) = exchange.batches(None)
            assert sent(exchange, batch) == ["SCRIPT", "EVALSHA"]
            expected = ["SCRIPT", "EVALSHA"]
        exchange.answered(batch, [b"sha", [1]] if "SCRIPT" in expected else [[1]], None)
        assert exchange.results == [[1]]
    assert loaded == {(SINGLE, one.sha)}


def test_with_a_call_that_is_repeated_later_ones_on_its_key_are_too() -> None:
    one = script()
    exchange = Exchange([one.on([IN_A], [1]), one.on([IN_A], [2]), command("GET", IN_B)], {(SINGLE, one.sha)})
    (batch,) = exchange.batches(None)
    exchange.answered(batch, [NOSCRIPT, b"late", b"other"], None)
    (again,) = exchange.batches(None)
    assert again.calls == [0, 1]


def test_a_later_stage_waits_on_a_cluster_and_is_repeated_on_a_single_server() -> None:
    one = script()
    calls = [one.on([IN_A], []), Call(("PUBLISH", "c", "x"), IN_B, stage=1)]
    exchange = Exchange(calls, set())
    (batch,) = exchange.batches(slots())
    assert batch.calls == [0]
    exchange.answered(batch, [b"sha", 1], slots())
    (batch,) = exchange.batches(slots())
    assert batch.calls == [1]
    exchange = Exchange(calls, {(SINGLE, one.sha)})
    (batch,) = exchange.batches(None)
    assert batch.calls == [0, 1]
    exchange.answered(batch, [NOSCRIPT, 5], None)
    (batch,) = exchange.batches(None)
    assert batch.calls == [0, 1]


def test_a_later_stage_is_not_sent_when_an_earlier_one_failed() -> None:
    exchange = Exchange([command("SET", IN_A, "1"), Call(("PUBLISH", "c", "x"), IN_A, stage=1)], set())
    (batch,) = exchange.batches(slots())
    full = redis.exceptions.OutOfMemoryError("full")
    exchange.answered(batch, [full], slots())
    exchange.skip_later_stages()
    assert exchange.batches(slots()) == []
    assert exchange.results == [full, full]


def test_moved_corrects_the_map_and_ask_does_not() -> None:
    table, slot = slots(), key_slot(IN_A.encode())
    exchange = Exchange([command("GET", IN_A)], set())
    (batch,) = exchange.batches(table)
    exchange.answered(batch, [redis.exceptions.AskError(f"{slot} 10.0.0.2:7000")], table)
    (batch,) = exchange.batches(table)
    assert (batch.address, sent(exchange, batch), table.owner(IN_A)) == (B, ["ASKING", "GET"], A)
    exchange.answered(batch, [b"OK", redis.exceptions.MovedError(f"{slot} 10.0.0.3:7000")], table)
    assert exchange.stale
    (batch,) = exchange.batches(table)
    assert (batch.address, sent(exchange, batch)) == (("10.0.0.3", 7000), ["GET"])
    exchange.answered(batch, [b"value"], table)
    assert (exchange.results, exchange.batches(table)) == ([b"value"], [])


def test_redirections_in_a_circle_come_to_an_end() -> None:
    table, slot, rounds = slots(), key_slot(IN_A.encode()), 0
    exchange = Exchange([command("GET", IN_A)], set())
    while batches := exchange.batches(table):
        rounds += 1
        exchange.answered(batches[0], [redis.exceptions.MovedError(f"{slot} 10.0.0.{rounds}:7000")], table)
    assert rounds == MAX_ROUNDS
    assert isinstance(exchange.results[0], redis.exceptions.MovedError)


@pytest.mark.parametrize(
    ("error", "was_open", "again"),
    [
        (redis.exceptions.ConnectionError("reset"), True, True),
        (redis.exceptions.ConnectionError("refused"), False, False),
        (redis.exceptions.TimeoutError("slow"), True, False),
    ],
)
def test_a_broken_connection_is_asked_once_more_a_refused_or_slow_one_is_not(error: Exception, was_open: bool, again: bool) -> None:
    exchange = Exchange([command("GET", IN_A)], set())
    (batch,) = exchange.batches(None)
    assert exchange.broke(batch, error, sent=was_open) is again
    assert bool(exchange.batches(None)) is again
    if again:
        assert not exchange.broke(batch, error, sent=True)
    assert exchange.results == [error]


def test_calls_to_a_node_that_lost_its_slots_are_sent_to_the_new_owner() -> None:
    before = slots()
    exchange = Exchange([command("GET", IN_A)], set())
    (batch,) = exchange.batches(before)
    exchange.broke(batch, redis.exceptions.ConnectionError("refused"), sent=False)
    after = SlotMap([[0, 16_383, [b"", 7001, b"id"]]], asked=B)
    exchange.elsewhere(after, before)
    (batch,) = exchange.batches(after)
    assert batch.address == ("10.0.0.2", 7001)


def test_a_slot_that_nobody_holds_fails_alone() -> None:
    exchange = Exchange([command("GET", IN_A), command("GET", IN_B)], set())
    (batch,) = exchange.batches(SlotMap(SLOTS[:1], asked=A))
    assert batch.calls == [0]
    assert isinstance(exchange.results[1], redis.exceptions.ClusterDownError)
    assert exchange.stale
