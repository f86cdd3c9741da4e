"""What comes of a group in order: blocks as they are delivered, gaps fetched and closed, heads compared (hops 6 and 7; I5, I6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge.core.codec import Codecs
from edge.core.in_turns import Waiters
from edge.core.responses import Block, GroupChanged
from edge.core.room import Room
from edge.core.session_counters import SessionCounters
from edge.ports import BlockEvent, FetchedPage, GroupEvent, HeadEvent, Upstream
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.limits import PAGE_DEFAULT, PAGE_MAX

MAX_PARKED = 64
"""Blocks of one group that may wait behind a gap; overflow policy: they are dropped and fetched with the gap."""

MAX_FAILED_HEALS = 3
"""A range that cannot be had so often is left to the clients' own pulls, so that it does not hold up what follows."""

_AWAY = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.DEADLINE_EXCEEDED})

BLOCK_BYTES = 131_072
"""Fetched messages are delivered in blocks of about this size."""


class RoomFeed:
    """Moves rooms forward. What a room delivers in blocks is always in order and without holes but for those it announces."""

    def __init__(self, upstream: Upstream, codecs: Codecs, waiters: Waiters, counters: SessionCounters) -> None:
        self._upstream = upstream
        self._waiters = waiters
        self._codecs = codecs
        self._counters = counters

    # What routers deliver -------------------------------------------------------------------------------------------

    def on_block(self, room: Room, event: BlockEvent) -> None:
        """Takes a block: delivers it, drops what is old, or parks it and fetches what lies before it."""
        self._counters.blocks += 1
        if event.epoch < room.epoch:
            self._counters.duplicate_blocks += 1
            return
        if event.epoch > room.epoch:
            self._counters.resets += 1
            room.reset(event.epoch, event.prev_seq)
        if event.prev_seq > room.head:
            self._park(room, event)
            return
        if event.head_seq <= room.head:
            self._counters.duplicate_blocks += 1
            return
        self._take_block(room, event)
        self._take_parked(room)

    def on_head(self, room: Room, event: HeadEvent) -> None:
        """Takes a head whose messages did not come along."""
        self.learn(room, event.epoch, event.head_seq)

    def on_group(self, room: Room, event: GroupEvent) -> None:
        """Name, settings or announcement changed."""
        room.group = event.group
        self.learn(room, event.group.epoch, event.group.head_seq)
        room.tell(GroupChanged(room.current_group()))

    def learn(self, room: Room, epoch: int, head_seq: int) -> None:
        """Takes a head from whatever source; one that is behind changes nothing."""
        if epoch < room.epoch:
            return
        if epoch > room.epoch:
            self._counters.resets += 1
            room.reset(epoch, head_seq)
            room.tell_head()
            return
        if head_seq > room.known_head:
            room.known_head = head_seq
        if room.known_head > room.head:
            self._heal(room)

    def settle(self, room: Room, then: Callable[[], None]) -> None:
        """Calls back when the room is at the head as far as that can be had now; at once when it is."""
        if room.head >= room.known_head:
            then()
            return
        room.heal_waiters.append(then)
        self._heal(room)

    # In order -------------------------------------------------------------------------------------------------------

    def _park(self, room: Room, event: BlockEvent) -> None:
        self._counters.gaps += 1
        if len(room.parked) >= MAX_PARKED:
            self._counters.parked_overflows += len(room.parked)
            room.parked.clear()
        room.parked[event.prev_seq] = event
        room.known_head = max(room.known_head, event.head_seq)
        self._heal(room)

    def _take_block(self, room: Room, event: BlockEvent) -> None:
        fresh = [message for seq, message in event.messages if seq > room.head]
        whole = event.prev_seq == room.head
        block = Block(
            event.group_id,
            event.epoch,
            room.head,
            fresh,
            event.block if whole else None,
            event.json_block if whole else None,
        )
        room.append(fresh)
        room.blocks_came = room.routed = True
        for target_seq, recall_seq in event.recalled:
            room.recall(target_seq, recall_seq)
        room.deliver(block, self._timed(event.published_at_ms))

    def _take_parked(self, room: Room) -> None:
        while room.parked:
            prev_seq = min(room.parked)
            if prev_seq > room.head:
                break
            event = room.parked.pop(prev_seq)
            if event.head_seq > room.head:
                self._take_block(room, event)
        if room.known_head > room.head:
            self._heal(room)

    def _timed(self, published_at_ms: int) -> Callable[[], None] | None:
        report = self._counters.on_fan_out_done
        if report is None or not published_at_ms:
            return None
        return lambda: report(published_at_ms)

    # Healing --------------------------------------------------------------------------------------------------------

    def _heal(self, room: Room) -> None:
        """Fetches what lies between the room's head and the next thing that is known; one call at a time."""
        if room.healing or room.dead:
            return
        room.healing = True
        self._counters.heals += 1
        up_to_seq = min(room.parked) if room.parked else room.known_head
        after_seq = room.head
        if up_to_seq - after_seq > PAGE_MAX:
            after_seq = up_to_seq - PAGE_DEFAULT
        epoch = room.epoch
        self._upstream.fetch_after(
            room.group.group_id,
            after_seq,
            up_to_seq,
            PAGE_MAX,
            lambda result: self._on_healed(room, epoch, after_seq, result),
        )

    def _on_healed(self, room: Room, epoch: int, after_seq: int, result: FetchedPage | ThrongError) -> None:
        room.healing = False
        if not room.dead:
            self._take_heal(room, epoch, after_seq, result)
        waiters, room.heal_waiters = room.heal_waiters, []
        self._waiters.call(waiters)

    def _take_heal(self, room: Room, epoch: int, after_seq: int, result: FetchedPage | ThrongError) -> None:
        if room.epoch != epoch:
            return
        if isinstance(result, ThrongError):
            if result.code in _AWAY:
                self._counters.heal_failures += 1
            else:
                self._no_progress(room)
            return
        if result.epoch != epoch:
            self.learn(room, result.epoch, result.head_seq)
            return
        messages = consecutive(result, after_seq)
        if not messages:
            self._no_progress(room)
            return
        room.failed_heals = 0
        if after_seq > room.head:
            self._skip_to(room, after_seq, messages)
        elif after_seq + len(messages) > room.head:
            self._take_fetched(room, messages[room.head - after_seq :])
        self._take_parked(room)

    def _no_progress(self, room: Room) -> None:
        """The messages did not come; the next comparison of heads tries again."""
        if room.known_head <= room.head:
            return
        self._counters.heal_failures += 1
        room.failed_heals += 1
        if room.failed_heals >= MAX_FAILED_HEALS:
            room.failed_heals = 0
            room.reset(room.epoch, min(room.parked) if room.parked else room.known_head)
            room.tell_head()
            self._take_parked(room)

    def _skip_to(self, room: Room, after_seq: int, messages: list[bytes]) -> None:
        """Too much was missed: goes on with the newest page; clients are told the head and pull, each from where it is."""
        room.reset(room.epoch, after_seq)
        room.append(messages)
        room.tell_head()

    def _take_fetched(self, room: Room, messages: list[bytes]) -> None:
        """Delivers fetched messages as blocks. Recalls among them blank what is cached."""
        for chunk in chunks(messages, BLOCK_BYTES):
            prev_seq = room.head
            room.append(chunk)
            for place, message in enumerate(chunk):
                target = self._codecs.messages.recall_target(message)
                if target:
                    room.recall(target, prev_seq + place + 1)
            room.deliver(Block(room.group.group_id, room.epoch, prev_seq, chunk), None)


def consecutive(page: FetchedPage, after_seq: int) -> list[bytes]:
    """The messages of a page that follow `after_seq` without a hole."""
    messages: list[bytes] = []
    for seq, message in page.messages:
        if seq == after_seq + len(messages) + 1:
            messages.append(message)
        elif seq > after_seq:
            break
    return messages


def chunks(messages: Sequence[bytes], max_bytes: int) -> list[list[bytes]]:
    """Cuts messages into runs of about so many bytes, at least one message each."""
    runs: list[list[bytes]] = []
    size = 0
    for message in messages:
        if not runs or size + len(message) > max_bytes:
            runs.append([])
            size = 0
        runs[-1].append(message)
        size += len(message)
    return runs
