"""All checks of hop 4 in their order: identity, format, membership, mute, safety, rate. A refusal stays with the candidate."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import structlog

from group_svc.core.body_check import check_body
from group_svc.core.membership_cache import Membership, MembershipCache
from group_svc.core.pending import Pending
from group_svc.core.rate_limits import RateLimits
from group_svc.ports import BodyFacts, BodyInspector, Candidate, SafetyCheck
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import GroupSettings, Member, Role
from throng.domain.ids import check_client_msg_id, check_identifier
from throng.domain.message import Lane, MessageKind, Submission
from throng.ports.clock import Clock
from throng.ports.uplink import UplinkRecord

_log = structlog.get_logger("group.admission")
_DEFAULTS = GroupSettings()


class Admission:
    """Turns records into candidates. Any thread; records of one user must come from one thread, in order."""

    def __init__(
        self, members: MembershipCache, inspector: BodyInspector, safety: SafetyCheck, rates: RateLimits, clock: Clock
    ) -> None:
        self._members = members
        self._inspector = inspector
        self._safety = safety
        self._rates = rates
        self._clock = clock

    def admit(self, records: Sequence[UplinkRecord]) -> list[Pending]:
        """Checks records, all of which hold a submission; one result each, in order. At most one store call.

        Raises:
            ThrongError: UNAVAILABLE while memberships cannot be read; nothing was used up, call again.
        """
        submissions = [record.submission for record in records if record.submission is not None]
        memberships = self._members.lookup([(submission.group_id, submission.user_id) for submission in submissions])
        return [
            self._admit_one(record, submission, membership)
            for record, submission, membership in zip(records, submissions, memberships, strict=True)
        ]

    def refuse(self, record: UplinkRecord, error: ThrongError) -> list[Pending]:
        """Makes the candidate of a record that could not be checked; none for a record without a submission."""
        if record.submission is None:
            return []
        candidate = Candidate(record.submission, refusal=error, sender_name="", lane=Lane.NORMAL, sender_role=Role.NONE)
        return [Pending(candidate, _DEFAULTS, record.partition, record.place)]

    def _admit_one(self, record: UplinkRecord, submission: Submission, membership: Membership) -> Pending:
        group, member = membership
        settings = _DEFAULTS if group is None else group.settings
        role = Role.NONE if member is None else member.role
        refusal: ThrongError | None = None
        lane, charged = Lane.NORMAL, False
        try:
            submission = self._with_checked_ids(submission)
            facts = self._check_content(submission)
            self._check_membership(submission, membership)
            self._check_safety(facts)
            lane = _lane_of(facts, role)
            charged = self._rates.admit(submission, settings, role, lane)
        except ThrongError as error:
            refusal = error
        except Exception as error:
            _log.error("check_failed", group_id=submission.group_id, client_msg_id=submission.client_msg_id, exc_info=error)
            refusal = ThrongError(ErrorCode.INTERNAL, "the message could not be checked", retry_after_ms=1000)
        name = "" if member is None else member.display_name
        candidate = Candidate(submission=submission, refusal=refusal, sender_name=name, lane=lane, sender_role=role)
        return Pending(candidate, settings, record.partition, record.place, charged)

    @staticmethod
    def _with_checked_ids(submission: Submission) -> Submission:
        check_identifier(submission.group_id, "group_id")
        check_identifier(submission.user_id, "user_id")
        client_msg_id = check_client_msg_id(submission.client_msg_id)
        if client_msg_id != submission.client_msg_id:
            return dataclasses.replace(submission, client_msg_id=client_msg_id)
        return submission

    def _check_content(self, submission: Submission) -> BodyFacts:
        facts = self._inspector.inspect(submission.body)
        if facts.kind is not submission.kind or facts.target_seq != submission.target_seq:
            raise ThrongError(ErrorCode.INVALID_ARGUMENT, "the body is not what it is said to be", fields={"field": "body"})
        check_body(facts, size_bytes=len(submission.body))
        return facts

    def _check_membership(self, submission: Submission, membership: Membership) -> None:
        group, member = membership
        if group is None:
            raise ThrongError(ErrorCode.GROUP_NOT_FOUND, "There is no such group.", fields={"group_id": submission.group_id})
        if member is None:
            raise ThrongError(
                ErrorCode.NOT_A_MEMBER, "You are not a member of this group.", fields={"group_id": submission.group_id}
            )
        if submission.kind is not MessageKind.RECALL:
            self._check_mute(member)

    def _check_mute(self, member: Member) -> None:
        left_ms = member.muted_until_ms - self._clock.now_ms()
        if left_ms > 0:
            raise ThrongError(ErrorCode.MUTED, "You may not speak in this group for now.", retry_after_ms=min(left_ms, 2**32 - 1))

    def _check_safety(self, facts: BodyFacts) -> None:
        if any(text and self._safety.blocks(text) for text in (facts.text, facts.alt)):
            raise ThrongError(ErrorCode.BLOCKED_CONTENT, "The message holds words that are not allowed here.")


def _lane_of(facts: BodyFacts, role: Role) -> Lane:
    high = role.moderates or facts.kind is MessageKind.SYSTEM or bool(facts.mentions)
    return Lane.HIGH if high else Lane.NORMAL
