"""Merging and bounding of reported cursors (hop 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from throng.domain.ids import GroupId, UserId
from unread_svc.ports import ReadCursor


def merge(cursors: Sequence[ReadCursor]) -> list[ReadCursor]:
    """One cursor per pair, the highest; those at 0 say nothing and are left out."""
    highest: dict[tuple[UserId, GroupId], ReadCursor] = {}
    for cursor in cursors:
        key = (cursor.user_id, cursor.group_id)
        known = highest.get(key)
        if cursor.read_seq > (known.read_seq if known else 0):
            highest[key] = cursor
    return list(highest.values())


def highest_by_group(cursors: Sequence[ReadCursor]) -> dict[GroupId, int]:
    """The highest read_seq that anybody reports, per group."""
    highest: dict[GroupId, int] = {}
    for cursor in cursors:
        highest[cursor.group_id] = max(cursor.read_seq, highest.get(cursor.group_id, 0))
    return highest


def bound(cursors: Sequence[ReadCursor], heads: Mapping[GroupId, int]) -> list[ReadCursor]:
    """Lowers cursors to the head of their group: nobody has read what does not exist. Drops those of unknown groups."""
    return [
        ReadCursor(cursor.user_id, cursor.group_id, min(cursor.read_seq, heads[cursor.group_id]))
        for cursor in cursors
        if heads.get(cursor.group_id)
    ]
