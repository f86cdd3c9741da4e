"""`MembershipStore` over a SQLite file: groups and members by key."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Sequence

from group_svc.adapters.membership_rules import check_role, no_such_group, no_such_member
from group_svc.adapters.sql_rows import (
    GROUP_COLUMNS,
    GROUP_WIDTH,
    MEMBER_COLUMNS,
    chunks,
    encode_settings,
    group_from_row,
    member_from_row,
    values_list,
)
from throng.adapters.sqlite_database import SQLiteDatabase
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Group, GroupSettings, Member, Role
from throng.domain.ids import GroupId, UserId
from throng.domain.message import Position

_GROUP = f"SELECT {GROUP_COLUMNS} FROM chat_group g WHERE g.group_id = ?"
_GROUPS = f"SELECT {GROUP_COLUMNS} FROM chat_group g WHERE g.group_id > ? ORDER BY g.group_id LIMIT ?"
_INSERT_GROUP = """
INSERT INTO chat_group (group_id, name, epoch, head_seq, member_count, settings, announcement, created_at_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE_GROUP = "UPDATE chat_group SET name = ?, announcement = ?, settings = ? WHERE group_id = ?"
_COUNT = "UPDATE chat_group SET member_count = ? WHERE group_id = ?"
_REMOVED = "UPDATE chat_group SET member_count = ?, members_version = members_version + ? WHERE group_id = ?"
_CHANGED = "UPDATE chat_group SET members_version = members_version + 1 WHERE group_id = ?"
_MEMBER = f"SELECT {MEMBER_COLUMNS} FROM group_member m WHERE m.group_id = ? AND m.user_id = ?"
_MEMBERS = f"SELECT {MEMBER_COLUMNS} FROM group_member m WHERE m.group_id = ? AND m.user_id > ? ORDER BY m.user_id LIMIT ?"
_OWNER = "SELECT user_id FROM group_member WHERE group_id = ? AND role = 1"
_INSERT_MEMBER = """
INSERT INTO group_member (group_id, user_id, role, joined_seq, muted_until_ms, display_name) VALUES (?, ?, ?, ?, ?, ?)
"""
_UPDATE_MEMBER = "UPDATE group_member SET role = ?, muted_until_ms = ?, display_name = ? WHERE group_id = ? AND user_id = ?"
_DELETE_MEMBER = "DELETE FROM group_member WHERE group_id = ? AND user_id = ?"
_USER_GROUPS = f"""
SELECT {GROUP_COLUMNS}, {MEMBER_COLUMNS} FROM group_member m CROSS JOIN chat_group g ON g.group_id = m.group_id
WHERE m.user_id = ? AND m.group_id > ? ORDER BY m.group_id LIMIT ?
"""


class SQLiteMembershipStore:
    """Groups and members in one file."""

    def __init__(self, database: SQLiteDatabase) -> None:
        """Keeps the database; whoever made it closes it."""
        self._database = database

    def create_group(self, group: Group, *, owner_id: UserId | None) -> Group:
        """One transaction for the group and its owner."""
        made = dataclasses.replace(group, epoch=1, head_seq=0, member_count=0 if owner_id is None else 1)
        with self._database.write() as connection:
            if connection.execute(_GROUP, (group.group_id,)).fetchone() is not None:
                raise ThrongError(ErrorCode.GROUP_EXISTS, "this group exists already", fields={"group_id": group.group_id})
            settings = encode_settings(made.settings)
            row = (made.group_id, made.name, 1, 0, made.member_count, settings, made.announcement, made.created_at_ms)
            connection.execute(_INSERT_GROUP, row)
            if owner_id is not None:
                connection.execute(_INSERT_MEMBER, (made.group_id, owner_id, int(Role.OWNER), 0, 0, ""))
        return made

    def get_group(self, group_id: GroupId) -> Group:
        """One row by key."""
        with self._database.read() as connection:
            return _group(connection, group_id)

    def update_group(
        self, group_id: GroupId, *, name: str | None, announcement: str | None, settings: GroupSettings | None
    ) -> Group:
        """Reads and writes one row in one transaction."""
        with self._database.write() as connection:
            group = _group(connection, group_id)
            group = dataclasses.replace(
                group,
                name=group.name if name is None else name,
                announcement=group.announcement if announcement is None else announcement,
                settings=group.settings if settings is None else settings,
            )
            connection.execute(_UPDATE_GROUP, (group.name, group.announcement, encode_settings(group.settings), group_id))
        return group

    def list_groups(self, *, after_group_id: str, limit: int) -> list[Group]:
        """One range of the primary key."""
        with self._database.read() as connection:
            return [group_from_row(row) for row in connection.execute(_GROUPS, (after_group_id, limit)).fetchall()]

    def list_members(self, group_id: GroupId, *, after_user_id: str, limit: int) -> list[Member]:
        """One range of the primary key."""
        with self._database.read() as connection:
            _group(connection, group_id)
            rows = connection.execute(_MEMBERS, (group_id, after_user_id, limit)).fetchall()
        return [member_from_row(row) for row in rows]

    def add_members(self, group_id: GroupId, members: Sequence[Member]) -> tuple[int, int]:
        """Looks up who is a member already, inserts the rest, and counts, in one transaction."""
        with self._database.write() as connection:
            group = _group(connection, group_id)
            wanted = {member.user_id: member for member in reversed(members)}
            present = _read_members(connection, [(group_id, user_id) for user_id in wanted])
            new = [member for user_id, member in wanted.items() if (group_id, user_id) not in present]
            owners = [member for member in new if member.role is Role.OWNER]
            if len(owners) > 1 or (owners and connection.execute(_OWNER, (group_id,)).fetchone() is not None):
                raise ThrongError(ErrorCode.CONFLICT, "a group has one owner", fields={"group_id": group_id})
            rows = [
                (group_id, member.user_id, int(member.role), group.head_seq, member.muted_until_ms, member.display_name)
                for member in new
            ]
            count = group.member_count + len(new)
            if new:
                connection.executemany(_INSERT_MEMBER, rows)
                connection.execute(_COUNT, (count, group_id))
        return len(new), count

    def remove_members(self, group_id: GroupId, user_ids: Sequence[UserId]) -> tuple[int, int]:
        """Deletes by key and counts, in one transaction."""
        with self._database.write() as connection:
            group = _group(connection, group_id)
            owner = connection.execute(_OWNER, (group_id,)).fetchone()
            if owner is not None and owner[0] in user_ids:
                raise ThrongError(ErrorCode.CONFLICT, "the owner cannot be removed", fields={"group_id": group_id})
            removed = connection.executemany(_DELETE_MEMBER, [(group_id, user_id) for user_id in user_ids]).rowcount
            count = group.member_count - max(0, removed)
            if removed > 0:
                connection.execute(_REMOVED, (count, len(set(user_ids)), group_id))
        return max(0, removed), count

    def update_member(
        self,
        group_id: GroupId,
        user_id: UserId,
        *,
        role: Role | None,
        muted_until_ms: int | None,
        display_name: str | None,
    ) -> Member:
        """Reads and writes one row, or two when the owner changes, in one transaction."""
        with self._database.write() as connection:
            _group(connection, group_id)
            member = _member(connection, group_id, user_id)
            if role is not None and role is not member.role:
                check_role(member, role)
                if role is Role.OWNER:
                    _retire_owner(connection, group_id)
            member = dataclasses.replace(
                member,
                role=member.role if role is None else role,
                muted_until_ms=member.muted_until_ms if muted_until_ms is None else muted_until_ms,
                display_name=member.display_name if display_name is None else display_name,
            )
            _write_member(connection, group_id, member)
            connection.execute(_CHANGED, (group_id,))
        return member

    def get_memberships(self, pairs: Sequence[tuple[GroupId, UserId]]) -> list[tuple[Group | None, Member | None]]:
        """Two look-ups by key for all pairs together."""
        with self._database.read() as connection:
            groups = _read_groups(connection, [group_id for group_id, _ in pairs])
            members = _read_members(connection, list(dict.fromkeys(pairs)))
        return [(groups.get(group_id), members.get((group_id, user_id))) for group_id, user_id in pairs]

    def list_user_groups(self, user_id: UserId, *, after_group_id: str, limit: int) -> list[tuple[Group, Member]]:
        """One range of the index (user_id, group_id)."""
        with self._database.read() as connection:
            rows = connection.execute(_USER_GROUPS, (user_id, after_group_id, limit)).fetchall()
        return [(group_from_row(row), member_from_row(row[GROUP_WIDTH:])) for row in rows]

    def get_heads(self, group_ids: Sequence[GroupId]) -> list[Position | None]:
        """One look-up by key for all groups together."""
        heads: dict[str, Position] = {}
        with self._database.read() as connection:
            for chunk in chunks(list(dict.fromkeys(group_ids))):
                sql = f"SELECT group_id, epoch, head_seq FROM chat_group WHERE group_id IN ({','.join('?' * len(chunk))})"
                heads.update({row[0]: Position(row[1], row[2]) for row in connection.execute(sql, chunk).fetchall()})
        return [heads.get(group_id) for group_id in group_ids]

    def get_members_versions(self, group_ids: Sequence[GroupId]) -> list[int]:
        """One look-up by key for all groups together."""
        versions: dict[str, int] = {}
        with self._database.read() as connection:
            for chunk in chunks(list(dict.fromkeys(group_ids))):
                sql = f"SELECT group_id, members_version FROM chat_group WHERE group_id IN ({','.join('?' * len(chunk))})"
                versions.update(dict(connection.execute(sql, chunk).fetchall()))
        return [versions.get(group_id, 0) for group_id in group_ids]


def _group(connection: sqlite3.Connection, group_id: GroupId) -> Group:
    row = connection.execute(_GROUP, (group_id,)).fetchone()
    if row is None:
        raise no_such_group(group_id)
    return group_from_row(row)


def _member(connection: sqlite3.Connection, group_id: GroupId, user_id: UserId) -> Member:
    row = connection.execute(_MEMBER, (group_id, user_id)).fetchone()
    if row is None:
        raise no_such_member(group_id)
    return member_from_row(row)


def _retire_owner(connection: sqlite3.Connection, group_id: GroupId) -> None:
    owner = connection.execute(_OWNER, (group_id,)).fetchone()
    if owner is not None:
        former = _member(connection, group_id, UserId(owner[0]))
        _write_member(connection, group_id, dataclasses.replace(former, role=Role.ADMINISTRATOR))


def _write_member(connection: sqlite3.Connection, group_id: GroupId, member: Member) -> None:
    row = (int(member.role), member.muted_until_ms, member.display_name, group_id, member.user_id)
    connection.execute(_UPDATE_MEMBER, row)


def _read_groups(connection: sqlite3.Connection, group_ids: Sequence[GroupId]) -> dict[GroupId, Group]:
    groups: dict[GroupId, Group] = {}
    for chunk in chunks(list(dict.fromkeys(group_ids))):
        sql = f"SELECT {GROUP_COLUMNS} FROM chat_group g WHERE g.group_id IN ({','.join('?' * len(chunk))})"
        groups.update({GroupId(row[0]): group_from_row(row) for row in connection.execute(sql, chunk).fetchall()})
    return groups


def _read_members(connection: sqlite3.Connection, pairs: Sequence[tuple[GroupId, UserId]]) -> dict[tuple[GroupId, UserId], Member]:
    members: dict[tuple[GroupId, UserId], Member] = {}
    for chunk in chunks(pairs):
        sql = (
            f"WITH wanted (group_id, user_id) AS (VALUES {values_list(len(chunk), 2)}) "
            f"SELECT m.group_id, {MEMBER_COLUMNS} FROM wanted CROSS JOIN group_member m "
            "ON m.group_id = wanted.group_id AND m.user_id = wanted.user_id"
        )
        rows = connection.execute(sql, [part for pair in chunk for part in pair]).fetchall()
        members.update({(GroupId(row[0]), UserId(row[1])): member_from_row(row[1:]) for row in rows})
    return members
