"""Protos of unread_svc to values, checked, and back (hops 5b and 8)."""

from __future__ import annotations

from collections.abc import Sequence

from throng.api.unread.v1 import unread_pb2
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import GroupId, UserId, check_identifier, is_identifier
from unread_svc.core.counting import Unread
from unread_svc.ports import Countable, Observation, ReadCursor, UserInGroup

MAX_CURSORS = 10_000
MAX_OBSERVATIONS = 1_000
MAX_ENTRIES = 10_000
"""New and recalled messages in one message of observations."""

MAX_PAIRS = 1_000
MAX_GROUPS = 500
MAX_SEQ = (1 << 53) - 1
"""Seqs are scores of a ZSET, which are doubles."""


def check_size(name: str, number: int, maximum: int, *, minimum: int = 1) -> None:
    """Checks the length of a list.

    Raises:
        ThrongError: INVALID_ARGUMENT when it is too short, LIMIT_EXCEEDED when it is too long.
    """
    if number < minimum:
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, f"{name} must not be empty", fields={"field": name})
    if number > maximum:
        raise ThrongError(
            ErrorCode.LIMIT_EXCEEDED, f"{name} may hold at most {maximum}", fields={"field": name, "limit": str(maximum)}
        )


def read_cursors(request: unread_pb2.ReportCursorsRequest) -> list[ReadCursor]:
    """1 to 10,000 cursors.

    Raises:
        ThrongError: INVALID_ARGUMENT or LIMIT_EXCEEDED; then nothing of the report is stored.
    """
    check_size("cursors", len(request.cursors), MAX_CURSORS)
    cursors = []
    for cursor in request.cursors:
        if cursor.read_seq > MAX_SEQ:
            raise ThrongError(ErrorCode.INVALID_ARGUMENT, f"read_seq must not exceed {MAX_SEQ}", fields={"field": "read_seq"})
        cursors.append(ReadCursor(_user(cursor.user_id), _group(cursor.group_id), cursor.read_seq))
    return cursors


def read_pairs(request: unread_pb2.BatchGetUnreadRequest) -> list[UserInGroup]:
    """1 to 1,000 pairs.

    Raises:
        ThrongError: INVALID_ARGUMENT or LIMIT_EXCEEDED.
    """
    check_size("pairs", len(request.pairs), MAX_PAIRS)
    return [UserInGroup(_user(pair.user_id), _group(pair.group_id)) for pair in request.pairs]


def read_user_and_groups(request: unread_pb2.GetUnreadCountsRequest) -> tuple[UserId, list[UserInGroup]]:
    """The user, and the pairs asked for; none: all groups of the user.

    Raises:
        ThrongError: INVALID_ARGUMENT or LIMIT_EXCEEDED.
    """
    check_size("group_ids", len(request.group_ids), MAX_GROUPS, minimum=0)
    user_id = _user(request.user_id)
    return user_id, [UserInGroup(user_id, _group(group_id)) for group_id in request.group_ids]


def read_observations(request: unread_pb2.ObserveRequest) -> tuple[list[Observation], int]:
    """1 to 1,000 observations, and how many contradict themselves and are left out: they would only cause a gap, which heals.

    Raises:
        ThrongError: INVALID_ARGUMENT or LIMIT_EXCEEDED.
    """
    check_size("observations", len(request.observations), MAX_OBSERVATIONS)
    entries = sum(len(one.added) + len(one.removed_seqs) for one in request.observations)
    check_size("added and removed_seqs", entries, MAX_ENTRIES, minimum=0)
    found = [_observation(observation) for observation in request.observations if _is_sound(observation)]
    return found, len(request.observations) - len(found)


def _is_sound(observation: unread_pb2.Observation) -> bool:
    return (
        is_identifier(observation.group_id)
        and observation.epoch > 0
        and observation.prev_seq <= observation.head_seq <= MAX_SEQ
        and all(observation.prev_seq < message.seq <= observation.head_seq for message in observation.added)
        and all(0 < seq <= observation.head_seq for seq in observation.removed_seqs)
    )


def _observation(observation: unread_pb2.Observation) -> Observation:
    return Observation(
        GroupId(observation.group_id),
        observation.epoch,
        observation.prev_seq,
        observation.head_seq,
        [Countable(message.seq, UserId(message.sender_id)) for message in observation.added],
        list(observation.removed_seqs),
    )


def write_unread(group_id: str, unread: Unread | None) -> unread_pb2.GroupUnread:
    """The proto of a count; None: no member, everything 0."""
    if unread is None:
        return unread_pb2.GroupUnread(group_id=group_id)
    return unread_pb2.GroupUnread(group_id=group_id, count=unread.count, capped=unread.capped, read_seq=unread.read_seq)


def write_members(pairs: Sequence[UserInGroup], counts: Sequence[Unread | None]) -> list[unread_pb2.GroupUnread]:
    """The protos of those that are members."""
    return [write_unread(pair.group_id, count) for pair, count in zip(pairs, counts, strict=True) if count is not None]


def _user(text: str) -> UserId:
    return UserId(check_identifier(text, "user_id"))


def _group(text: str) -> GroupId:
    return GroupId(check_identifier(text, "group_id"))
