"""A group as this edge holds it: position, newest messages, and the sockets that get its frames (hops 7 and 8)."""

from __future__ import annotations

import dataclasses
import enum
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edge.core.codec import Codecs
from edge.core.links import ClientLink, LinkArray, LinkHub
from edge.core.message_cache import CacheBudget, MessageCache
from edge.core.responses import Block, Notice, Online, Response
from throng.domain.group import Delivery, Group

if TYPE_CHECKING:
    from edge.core.budget_share import BudgetShare
    from edge.ports import BlockEvent

KEPT_RECALLS = 256
KEPT_ANSWERS = 64


@dataclasses.dataclass(frozen=True, slots=True)
class SharedPage:
    """Group and messages behind `after_seq`, serialized; good as long as the room's group is this very object."""

    group: Group
    after_seq: int
    shared: bytes


class Wants(enum.IntEnum):
    """What a connection gets of a group."""

    BLOCKS = 0
    HEADS = 1
    """A notice for each block: the client pulls."""
    COUNTS = 2
    """A notice once a second at most: the page is hidden, and only counts."""


_VARIANTS = tuple((binary, wants) for binary in (True, False) for wants in Wants)
_SHOWN = (Wants.BLOCKS, Wants.HEADS)
_HIDDEN = (Wants.COUNTS,)


class Room:
    """One group. Hub thread only.

    Attributes:
        head: newest seq that was delivered here, in order; the cache holds what ends with it.
        members_version: version of the members up to which every removal was heard of here; `members_seen`: newest one known to
            exist; `members_suspect`: what was seen at the comparison before, so late but not yet lost changes cost nothing.
        confirmed_at: when group_svc last told the version of the members, monotonic seconds.
        blocks_came: a block was delivered since heads were last compared regularly: the next one may be gathered just now.
        routed: a block was delivered, so the route stands, and what is missing before a block shows by it.
        known_head: newest seq that is known to exist; above `head` the room is behind and heals (I6).
        acked: newest seq that a client here got an ACK for; its block may wait for its interval still, so nothing heals by it.
        holds: connections that take part or are about to.
        online: connections in the group on all edges, as last told; 0: not told. `online_told`: what clients were told last;
            `online_due`: it may be told with the next block, which costs no send of its own (`Presence` keeps the time).
        hidden_told: position that the hidden pages were told last; `hidden_waits`: they are behind and `Presence` knows.
        online_told_at, hidden_told_at: when that was, monotonic seconds; `online_waits`: `Presence` has the count in hand.
        reported: connections as they were last reported to the registry.
        parked: blocks behind a gap, by prev_seq.
        recalls: newest recalled seqs with the seq of their recall; late reads are blanked by it.
        answers: prepared answers to pulls of the present head, by (binary, after, up to).
        pages: what many who enter at the present head get alike, by (binary, after, oldest first).
        budget: what this edge may let in of the group's budget; None until somebody sends.
        dead: nobody holds it any more; late results are dropped.
    """

    __slots__ = (
        "_arrays",
        "_behind",
        "_codecs",
        "_hub",
        "_notices",
        "acked",
        "answers",
        "blocks_came",
        "budget",
        "cache",
        "confirmed_at",
        "dead",
        "epoch",
        "failed_heals",
        "group",
        "head",
        "heal_waiters",
        "healing",
        "hidden_told",
        "hidden_told_at",
        "hidden_waits",
        "holds",
        "json_parts",
        "known_head",
        "members_seen",
        "members_suspect",
        "members_version",
        "online",
        "online_due",
        "online_told",
        "online_told_at",
        "online_waits",
        "pages",
        "parked",
        "recalls",
        "reported",
        "routed",
    )

    def __init__(self, group: Group, hub: LinkHub, codecs: Codecs, budget: CacheBudget, behind: deque[Room]) -> None:
        """`behind` gets the room when its hidden pages fall behind its head."""
        self.group = group
        self.epoch = group.epoch
        self.head = self.known_head = group.head_seq
        self.acked = 0
        self.cache = MessageCache(budget, group.head_seq)
        self.members_version = self.members_seen = self.members_suspect = group.members_version
        self.confirmed_at = float("-inf")
        self.blocks_came = self.routed = False
        self.holds = 0
        self.reported = 0
        self.online = self.online_told = 0
        self.online_due = self.online_waits = self.hidden_waits = False
        self.online_told_at = self.hidden_told_at = float("-inf")
        self.hidden_told = (0, 0)
        self.json_parts = 0
        self.healing = False
        self.failed_heals = 0
        self.heal_waiters: list[Callable[[], None]] = []
        self.parked: dict[int, BlockEvent] = {}
        self.recalls: dict[int, int] = {}
        self.answers: dict[tuple[bool, int, int], bytes] = {}
        self.pages: dict[tuple[bool, int, bool], SharedPage] = {}
        self.budget: BudgetShare | None = None
        self.dead = False
        self._hub = hub
        self._codecs = codecs
        self._behind = behind
        self._arrays: list[LinkArray | None] = [None] * len(_VARIANTS)
        self._notices: dict[bool, tuple[int, int, bytes]] = {}

    # Sockets --------------------------------------------------------------------------------------------------------

    def add(self, connection: ClientLink, *, wants: Wants) -> None:
        """Gives a connection the frames of a variant from now on."""
        place = _place(binary=connection.binary, wants=wants)
        array = self._arrays[place]
        if array is None:
            array = self._arrays[place] = self._hub.array()
        array.add(connection)
        self.json_parts += not connection.binary

    def remove(self, connection: ClientLink, *, wants: Wants) -> None:
        """Gives it nothing more."""
        array = self._arrays[_place(binary=connection.binary, wants=wants)]
        if array is not None:
            array.remove(connection)
            self.json_parts -= not connection.binary

    # Position -------------------------------------------------------------------------------------------------------

    def reset(self, epoch: int, head: int) -> None:
        """Goes on in another epoch, or behind a gap that cannot be had, with an empty cache."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.known_head = head
            self.acked = 0
            self.recalls.clear()
            self.parked.clear()
        self.head = head
        self.known_head = max(head, self.known_head)
        self.cache.reset(head)
        self._forget_answers()

    def note_ack(self, epoch: int, seq: int) -> None:
        """A client here was told that its message exists."""
        if epoch == self.epoch and seq > self.acked:
            self.acked = seq

    def exists(self, seq: int) -> bool:
        """Whether there is a message with this seq, as far as is known here."""
        return 0 < seq <= max(self.known_head, self.acked)

    def current_group(self) -> Group:
        """The group with the head as it is here."""
        return dataclasses.replace(self.group, epoch=self.epoch, head_seq=self.head)

    def append(self, messages: list[bytes]) -> None:
        """Takes the messages that follow `head`."""
        self.cache.append(messages)
        self.head += len(messages)
        self.known_head = max(self.known_head, self.head)
        self._forget_answers()

    def recall(self, target_seq: int, recall_seq: int) -> None:
        """Blanks a message here, and in reads that come late; the oldest recalls are forgotten when too many are kept."""
        if len(self.recalls) >= KEPT_RECALLS:
            del self.recalls[next(iter(self.recalls))]
        self.recalls[target_seq] = recall_seq
        cache = self.cache
        if cache.floor < target_seq <= cache.top:
            held = cache.between(target_seq - 1, target_seq)[0]
            cache.replace(target_seq, self._codecs.messages.blanked(held, recall_seq))
        self._forget_answers()

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

    def keep_page(self, key: tuple[bool, int, bool], page: SharedPage) -> None:
        """Remembers what many who enter get alike, until the head moves or the group changes."""
        if len(self.pages) >= KEPT_ANSWERS:
            self.pages.clear()
        self.pages[key] = page

    def _forget_answers(self) -> None:
        self.answers.clear()
        self.pages.clear()

    def tell(self, response: Response) -> None:
        """Sends the same to everybody."""
        self._fan_out(tuple(Wants), lambda binary, wants: self._frame(response, binary=binary), None)

    def tell_head(self) -> None:
        """Sends the head to everybody; hidden pages hear of it in their time."""
        self._fan_out(_SHOWN, lambda binary, wants: self.notice(binary=binary), None)
        self._note_hidden()

    def tell_online(self) -> int:
        """Sends the online count to those who see the page; returns how many there are."""
        self.online_told = self.online
        self.online_due = False
        online = Online(self.group.group_id, self.online)
        return self._fan_out(_SHOWN, lambda binary, wants: self._frame(online, binary=binary), None)

    def tell_hidden(self) -> int:
        """Sends the head to hidden pages; returns how many there are."""
        self.hidden_told = (self.epoch, self.head)
        return self._fan_out(_HIDDEN, lambda binary, wants: self.notice(binary=binary), None)

    def deliver(self, block: Block, on_done: Callable[[], None] | None) -> None:
        """Sends a block to those who want it and the head to the others, hidden pages left out; `on_done` is called when the last
        one was served. An online count that is due goes with it: both wait for the same pass and are one send."""

        def make(binary: bool, wants: Wants) -> bytes:
            return self._frame(block, binary=binary) if wants is Wants.BLOCKS else self.notice(binary=binary)

        self._fan_out(_SHOWN, make, on_done)
        if self.online_due:
            self.tell_online()
        self._note_hidden()

    @property
    def shown(self) -> int:
        """Connections whose page is not hidden."""
        return sum(len(array) for _, wants, array in self._members() if wants is not Wants.COUNTS)

    def _note_hidden(self) -> None:
        if not self.hidden_waits and any(wants is Wants.COUNTS for _, wants, _ in self._members()):
            self.hidden_waits = True
            self._behind.append(self)

    def _members(self) -> list[tuple[bool, Wants, LinkArray]]:
        return [
            (binary, wants, array)
            for (binary, wants), array in zip(_VARIANTS, self._arrays, strict=True)
            if array is not None and len(array)
        ]

    def _frame(self, response: Response, *, binary: bool) -> bytes:
        codec = self._codecs.of(binary=binary)
        return codec.frame(codec.prepare(response))

    def _fan_out(self, whom: Sequence[Wants], make: Callable[[bool, Wants], bytes], on_done: Callable[[], None] | None) -> int:
        arrays = [(binary, wants, array) for binary, wants, array in self._members() if wants in whom]
        waiting = len(arrays)

        def one_done(sent: int) -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting and on_done is not None:
                on_done()

        for binary, wants, array in arrays:
            self._hub.fan_out(
                array,
                make(binary, wants),
                head_frame=self._head_of_protobuf if binary else self._head_of_json,
                on_done=one_done if on_done is not None else None,
            )
        return sum(len(array) for _, _, array in arrays)

    def _head_of_protobuf(self) -> bytes:
        return self.notice(binary=True)

    def _head_of_json(self) -> bytes:
        return self.notice(binary=False)


def _place(*, binary: bool, wants: Wants) -> int:
    return (0 if binary else len(Wants)) + wants


def wants_of(delivery: Delivery, *, hidden: bool) -> Wants:
    """What a part gets: of a hidden page counts, else what was asked for."""
    if hidden:
        return Wants.COUNTS
    return Wants.HEADS if delivery is Delivery.NOTIFY else Wants.BLOCKS
