"""What follows a commit, in this order: cache, blocks, answers, offsets (end of hop 4, hop 5)."""

from __future__ import annotations

import collections
import dataclasses
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
from throng.domain.message import StoredMessage

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
    """Called by the writer alone, with one batch after the other."""

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

    def prepare(self, batch: Sequence[Pending]) -> None:
        """Called before a batch is committed: notes the heads of groups that this life has not published yet.

        The head itself counts as not published, for the life before may have ended just then; so it goes out once more when it
        is sent again. What a commit adds above it goes out even if the commit has to be repeated before it reports success.

        Raises:
            ThrongError: UNAVAILABLE, from the store.
        """
        groups = dict.fromkeys(pending.candidate.submission.group_id for pending in batch)
        unknown = [group_id for group_id in groups if group_id not in self._published]
        if not unknown:
            return
        for group_id, head in zip(unknown, self._groups.get_heads(unknown), strict=True):
            if head is not None:
                self._note_published(group_id, (head.epoch, head.seq - 1))

    def _note_published(self, group_id: GroupId, head: tuple[int, int]) -> None:
        self._published[group_id] = max(self._published.pop(group_id, (0, 0)), head)
        if len(self._published) > _MAX_GROUPS:
            self._published.popitem(last=False)

    def complete(self, batch: Sequence[Pending], outcomes: Sequence[Outcome]) -> None:
        """Finishes a batch whose outcomes are known; nothing is raised, whatever is away is mended elsewhere."""
        try:
            self._spread(batch, outcomes)
        except Exception as error:
            _log.error("spread_failed", messages=len(batch), exc_info=error)
        self._answers.send([self._answer(pending, outcome) for pending, outcome in zip(batch, outcomes, strict=True)])
        self._offsets.finish((pending.partition, pending.offset) for pending in batch)

    def _spread(self, batch: Sequence[Pending], outcomes: Sequence[Outcome]) -> None:
        commits: list[tuple[RecentPut, _Fresh]] = []
        for (group_id, epoch), fresh in self._fresh(batch, outcomes).items():
            for target, event in fresh.recalls.items():
                message = fresh.messages.get(target)
                if message is not None:
                    fresh.messages[target] = dataclasses.replace(message, body=b"", recalled_by_seq=event)
            messages = [fresh.messages[seq] for seq in sorted(fresh.messages)]
            self._note_published(group_id, (epoch, messages[-1].seq))
            commits.append((RecentPut(group_id, epoch, messages, list(fresh.recalls)), fresh))
        self._history.note_committed([commit for commit, _ in commits])
        self._pump.add(
            [
                Stored(commit.group_id, commit.epoch, commit.messages, list(fresh.recalls.items()), fresh.settings)
                for commit, fresh in commits
            ]
        )

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
            (self._metrics.repeated if outcome.repeated else self._metrics.stored).inc()
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
