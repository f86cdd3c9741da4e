"""What follows a commit, in this order: blocks, answers, cache, offsets (end of hop 4, hop 5).

Blocks come before answers, so that an edge knows a message when its sender speaks of it. The cache comes after what somebody waits
for. It is told of the new heads before, so that whoever has a block or an ACK and reads does not get less."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from group_svc.core.answers import Answers
from group_svc.core.block_pump import BlockPump, Stored
from group_svc.core.history import History
from group_svc.core.offsets import OffsetTracker
from group_svc.core.pending import Pending
from group_svc.core.rate_limits import RateLimits
from group_svc.metrics import GroupMetrics
from group_svc.ports import AnswerPublication, Committed, MembershipStore, Outcome, RecentPut
from throng.domain.group import GroupSettings
from throng.domain.ids import GroupId
from throng.domain.message import Position, StoredMessage

_log = structlog.get_logger("group.completion")
_MAX_GROUPS = 50_000
_EVERYTHING = (2**63, 0)


@dataclass(slots=True)
class _Fresh:
    """What a batch brought for one group and epoch."""

    settings: GroupSettings
    messages: dict[int, StoredMessage] = field(default_factory=dict)
    recalls: dict[int, int] = field(default_factory=dict)


class Completion:
    """`prepare` is called by the writer alone, `complete` by the finisher alone, each with one batch after the other."""

    def __init__(
        self,
        history: History,
        groups: MembershipStore,
        pump: BlockPump,
        answers: Answers,
        rates: RateLimits,
        offsets: OffsetTracker,
        metrics: GroupMetrics,
    ) -> None:
        self._history = history
        self._groups = groups
        self._pump = pump
        self._answers = answers
        self._rates = rates
        self._offsets = offsets
        self._metrics = metrics
        self._published: collections.OrderedDict[GroupId, tuple[int, int]] = collections.OrderedDict()
        self._publishing = threading.Lock()

    def prepare(self, batch: Sequence[Pending]) -> None:
        """Called before a batch is committed: notes the heads of groups that this life has not published yet.

        The head itself counts as not published, for the life before may have ended just then; so it goes out once more when it
        is sent again. What a commit adds above it goes out even if the commit has to be repeated before it reports success.

        Raises:
            ThrongError: UNAVAILABLE, from the store.
        """
        groups = dict.fromkeys(pending.candidate.submission.group_id for pending in batch)
        with self._publishing:
            unknown = [group_id for group_id in groups if group_id not in self._published]
        if not unknown:
            return
        for group_id, head in zip(unknown, self._groups.get_heads(unknown), strict=True):
            if head is not None:
                self._note_published(group_id, (head.epoch, head.seq - 1))

    def _note_published(self, group_id: GroupId, head: tuple[int, int]) -> None:
        with self._publishing:
            self._published[group_id] = max(self._published.pop(group_id, (0, 0)), head)
            if len(self._published) > _MAX_GROUPS:
                self._published.popitem(last=False)

    def complete(self, batch: Sequence[Pending], outcomes: Sequence[Outcome]) -> None:
        """Finishes a batch whose outcomes are known; nothing is raised, whatever is away is mended elsewhere."""
        repeated = sum(isinstance(outcome, Committed) and outcome.repeated for outcome in outcomes)
        self._metrics.repeated.inc(repeated)
        self._metrics.stored.inc(sum(isinstance(outcome, Committed) for outcome in outcomes) - repeated)
        news: list[Stored] = []
        try:
            news = self._news(batch, outcomes)
            self._history.note_heads({one.group_id: Position(one.epoch, one.messages[-1].seq) for one in news})
            self._pump.add(news)
        except Exception as error:
            _log.error("spread_failed", messages=len(batch), exc_info=error)
        self._answers.send([self._answer(pending, outcome) for pending, outcome in zip(batch, outcomes, strict=True)])
        try:
            self._history.note_committed([_put_of(stored) for stored in news])
        except Exception as error:
            _log.error("spread_failed", messages=len(batch), exc_info=error)
        self._offsets.finish((pending.partition, pending.place) for pending in batch)

    def _news(self, batch: Sequence[Pending], outcomes: Sequence[Outcome]) -> list[Stored]:
        """What the batch brought for each group, bodies blanked that are recalled in it."""
        news: list[Stored] = []
        for (group_id, epoch), fresh in self._fresh(batch, outcomes).items():
            for target, event in fresh.recalls.items():
                message = fresh.messages.get(target)
                if message is not None:
                    fresh.messages[target] = dataclasses.replace(message, body=b"", recalled_by_seq=event)
            messages = [fresh.messages[seq] for seq in sorted(fresh.messages)]
            self._note_published(group_id, (epoch, messages[-1].seq))
            news.append(Stored(group_id, epoch, messages, list(fresh.recalls.items()), fresh.settings))
        return news

    def _fresh(self, batch: Sequence[Pending], outcomes: Sequence[Outcome]) -> dict[tuple[GroupId, int], _Fresh]:
        """Sorts out what has not been published: new messages, and repeated ones above what this process has published.

        The latter were committed by a call, or a life, that ended before it could publish; see `prepare`.
        """
        found: dict[tuple[GroupId, int], _Fresh] = {}
        for pending, outcome in zip(batch, outcomes, strict=True):
            if not isinstance(outcome, Committed):
                continue
            group_id, position = pending.candidate.submission.group_id, outcome.position
            if outcome.repeated and (position.epoch, position.seq) <= self._published.get(group_id, _EVERYTHING):
                continue
            fresh = found.setdefault((group_id, position.epoch), _Fresh(pending.settings))
            fresh.messages.setdefault(position.seq, outcome.message)
            if outcome.recalled_seq:
                fresh.recalls[outcome.recalled_seq] = position.seq
        return found

    def _answer(self, pending: Pending, outcome: Outcome) -> AnswerPublication:
        candidate = pending.candidate
        submission = candidate.submission
        if isinstance(outcome, Committed):
            if outcome.repeated and pending.charged:
                self._rates.release(submission, candidate.sender_role)
            return AnswerPublication(
                submission.origin,
                submission.group_id,
                submission.client_msg_id,
                outcome.position,
                sent_at_ms=outcome.message.sent_at_ms,
            )
        self._metrics.refused(outcome.error.code)
        if pending.charged:
            self._rates.release(submission, candidate.sender_role)
        return AnswerPublication(submission.origin, submission.group_id, submission.client_msg_id, None, error=outcome.error)


def _put_of(stored: Stored) -> RecentPut:
    return RecentPut(stored.group_id, stored.epoch, stored.messages, [target for target, _ in stored.recalls])
