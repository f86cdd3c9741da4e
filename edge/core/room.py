"""A group as this edge holds it: position, newest messages, and the sockets that get its frames (hops 7 and 8)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.core.codec import Codecs
from edge.core.links import ClientLink, LinkArray, LinkHub
from edge.core.message_cache import CacheBudget, MessageCache
from edge.core.responses import Block, Notice, Response
from throng.domain.group import Delivery, Group

if TYPE_CHECKING:
    from edge.ports import BlockEvent

KEPT_RECALLS = 256
KEPT_ANSWERS = 64
_VARIANTS = ((True, True), (True, False), (False, True), (False, False))


class Room:
    """One group. Hub thread only.

    Attributes:
        head: newest seq that was delivered here, in order; the cache holds what ends with it.
        members_version: version of the members up to which every removal was heard of here; `members_seen`: newest one known to
            exist; `members_suspect`: what was seen at the comparison before, so late but not yet lost changes cost nothing.
        known_head: newest seq that is known to exist; above `head` the room is behind and heals (I6).
        holds: connections that take part or are about to.
        reported: connections as they were last reported to the registry.
        parked: blocks behind a gap, by prev_seq.
        recalls: newest recalled seqs with the seq of their recall; late reads are blanked by it.
        answers: prepared answers to pulls of the present head, by (binary, after, up to).
        dead: nobody holds it any more; late results are dropped.
    """

    __slots__ = (
        "_arrays",
        "_codecs",
        "_hub",
        "_notices",
        "answers",
        "cache",
        "dead",
        "epoch",
        "failed_heals",
        "group",
        "head",
        "heal_waiters",
        "healing",
        "holds",
        "json_parts",
        "known_head",
        "members_seen",
        "members_suspect",
        "members_version",
        "parked",
        "recalls",
        "reported",
    )

    def __init__(self, group: Group, hub: LinkHub, codecs: Codecs, budget: CacheBudget) -> None:
        self.group = group
        self.epoch = group.epoch
        self.head = self.known_head = group.head_seq
        self.cache = MessageCache(budget, group.head_seq)
        self.members_version = self.members_seen = self.members_suspect = group.members_version
        self.holds = 0
        self.reported = 0
        self.json_parts = 0
        self.healing = False
        self.failed_heals = 0
        self.heal_waiters: list[Callable[[], None]] = []
        self.parked: dict[int, BlockEvent] = {}
        self.recalls: dict[int, int] = {}
        self.answers: dict[tuple[bool, int, int], bytes] = {}
        self.dead = False
        self._hub = hub
        self._codecs = codecs
        self._arrays: list[LinkArray | None] = [None, None, None, None]
        self._notices: dict[bool, tuple[int, int, bytes]] = {}

    # Sockets --------------------------------------------------------------------------------------------------------

    def add(self, connection: ClientLink, *, inline: bool) -> None:
        """Gives a connection the frames of a variant from now on."""
        place = _place(binary=connection.binary, inline=inline)
        array = self._arrays[place]
        if array is None:
            array = self._arrays[place] = self._hub.array()
        array.add(connection)
        self.json_parts += not connection.binary

    def remove(self, connection: ClientLink, *, inline: bool) -> None:
        """Gives it nothing more."""
        array = self._arrays[_place(binary=connection.binary, inline=inline)]
        if array is not None:
            array.remove(connection)
            self.json_parts -= not connection.binary

    # Position -------------------------------------------------------------------------------------------------------

    def reset(self, epoch: int, head: int) -> None:
        """Goes on in another epoch, or behind a gap that cannot be had, with an empty cache."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.known_head = head
            self.recalls.clear()
            self.parked.clear()
        self.head = head
        self.known_head = max(head, self.known_head)
        self.cache.reset(head)
        self.answers.clear()

    def current_group(self) -> Group:
        """The group with the head as it is here."""
        return dataclasses.replace(self.group, epoch=self.epoch, head_seq=self.head)

    def append(self, messages: list[bytes]) -> None:
        """Takes the messages that follow `head`."""
        self.cache.append(messages)
        self.head += len(messages)
        self.known_head = max(self.known_head, self.head)
        self.answers.clear()

    def recall(self, target_seq: int, recall_seq: int) -> None:
        """Blanks a message here, and in reads that come late; the oldest recalls are forgotten when too many are kept."""
        if len(self.recalls) >= KEPT_RECALLS:
            del self.recalls[next(iter(self.recalls))]
        self.recalls[target_seq] = recall_seq
        cache = self.cache
        if cache.floor < target_seq <= cache.top:
            held = cache.between(target_seq - 1, target_seq)[0]
            cache.replace(target_seq, self._codecs.messages.blanked(held, recall_seq))
        self.answers.clear()

    def blanked(self, after_seq: int, messages: list[bytes]) -> list[bytes]:
        """Messages read upstream, without what was recalled since."""
        last = after_seq + len(messages)
        for target, recall_seq in self.recalls.items():
            if after_seq < target <= last:
                place = target - after_seq - 1
                messages[place] = self._codecs.messages.blanked(messages[place], recall_seq)
        return messages

    # Frames ---------------------------------------------------------------------------------------------------------

    def notice(self, *, binary: bool) -> bytes:
        """The frame that tells the head."""
        kept = self._notices.get(binary)
        if kept is None or kept[0] != self.head or kept[1] != self.epoch:
            codec = self._codecs.of(binary=binary)
            frame = codec.frame(codec.prepare(Notice(self.group.group_id, self.epoch, self.head)))
            kept = self._notices[binary] = (self.head, self.epoch, frame)
        return kept[2]

    def keep_answer(self, key: tuple[bool, int, int], prepared: bytes) -> None:
        """Remembers an answer until the head moves; many clients pull the same range."""
        if len(self.answers) >= KEPT_ANSWERS:
            self.answers.clear()
        self.answers[key] = prepared

    def tell(self, response: Response) -> None:
        """Sends the same to everybody."""
        self._fan_out(lambda binary, inline: self._frame(response, binary=binary), None)

    def tell_head(self) -> None:
        """Sends the head to everybody."""
        self._fan_out(lambda binary, inline: self.notice(binary=binary), None)

    def deliver(self, block: Block, on_done: Callable[[], None] | None) -> None:
        """Sends a block to those who want it and the head to the others; `on_done` is called when the last one was served."""
        self._fan_out(lambda binary, inline: self._frame(block, binary=binary) if inline else self.notice(binary=binary), on_done)

    def _frame(self, response: Response, *, binary: bool) -> bytes:
        codec = self._codecs.of(binary=binary)
        return codec.frame(codec.prepare(response))

    def _fan_out(self, make: Callable[[bool, bool], bytes], on_done: Callable[[], None] | None) -> None:
        arrays = [
            (binary, inline, array)
            for (binary, inline), array in zip(_VARIANTS, self._arrays, strict=True)
            if array is not None and len(array)
        ]
        waiting = len(arrays)

        def one_done(sent: int) -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting and on_done is not None:
                on_done()

        for binary, inline, array in arrays:
            self._hub.fan_out(
                array,
                make(binary, inline),
                head_frame=self._head_of_protobuf if binary else self._head_of_json,
                on_done=one_done if on_done is not None else None,
            )

    def _head_of_protobuf(self) -> bytes:
        return self.notice(binary=True)

    def _head_of_json(self) -> bytes:
        return self.notice(binary=False)


def _place(*, binary: bool, inline: bool) -> int:
    return (0 if binary else 2) + (0 if inline else 1)


def wants_blocks(delivery: Delivery, *, hidden: bool) -> bool:
    """Blocks go to INLINE parts of pages that are shown."""
    return delivery is not Delivery.NOTIFY and not hidden
