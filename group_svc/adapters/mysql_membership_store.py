"""`MembershipStore` over MySQL: groups and members by key.

Every change of members locks the group's row first. So `member_count` and `owner_id` are right, and changes of one group come
one after the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from group_svc.adapters import mysql_rows as sql
from group_svc.adapters.membership_rules import check_role, no_such_group, no_such_member
from group_svc.adapters.sql_rows import GROUP_WIDTH, encode_settings, group_from_row, member_from_row
from throng.adapters.mysql_database import MySQLDatabase
from throng.adapters.mysql_statements import Statements, chunks
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Group, GroupSettings, Member, Role
from throng.domain.ids import GroupId, UserId
from throng.domain.message import Position


class MySQLMembershipStore:
    """Groups and members."""

    def __init__(self, database: MySQLDatabase) -> None:
        """Keeps the database; whoever made it closes it."""
        self._database = database

    def create_group(self, group: Group, *, owner_id: UserId | None) -> Group:
        """One transaction for the group and its owner."""
        made = dataclasses.replace(group, epoch=1, head_seq=0, member_count=0 if owner_id is None else 1, members_version=0)

        def write(statements: Statements) -> None:
            if statements.row(sql.HEAD, group.group_id) is not None:
                raise ThrongError(ErrorCode.GROUP_EXISTS, "this group exists already", fields={"group_id": group.group_id})
            statements.run(
                sql.INSERT_GROUP,
                made.group_id,
                made.name,
                made.member_count,
                owner_id,
                encode_settings(made.settings),
                made.announcement,
                made.created_at_ms,
            )
            if owner_id is not None:
                statements.insert(sql.INSERT_MEMBERS, [sql.member_row(made.group_id, 0, Member(owner_id, Role.OWNER))])

        self._database.write(write)
        return made

    def get_group(self, group_id: GroupId) -> Group:
        """One row by key."""
        return self._database.read(lambda statements: _group(statements, group_id))

    def update_group(
        self, group_id: GroupId, *, name: str | None, announcement: str | None, settings: GroupSettings | None
    ) -> Group:
        """Reads and writes one row in one transaction."""

        def write(statements: Statements) -> Group:
            group, _ = _lock_group(statements, group_id)
            group = dataclasses.replace(
                group,
                name=group.name if name is None else name,
                announcement=group.announcement if announcement is None else announcement,
                settings=group.settings if settings is None else settings,
            )
            statements.run(sql.UPDATE_GROUP, group.name, group.announcement, encode_settings(group.settings), group_id)
            return group

        return self._database.write(write)

    def list_groups(self, *, after_group_id: str, limit: int) -> list[Group]:
        """One range of the primary key."""
        rows = self._database.read(lambda statements: statements.rows(sql.GROUPS, after_group_id, limit))
        return [group_from_row(row) for row in rows]

    def list_members(self, group_id: GroupId, *, after_user_id: str, limit: int) -> list[Member]:
        """One range of the primary key."""

        def read(statements: Statements) -> list[Member]:
            rows = statements.rows(sql.MEMBERS, group_id, after_user_id, limit)
            if not rows:
                _group(statements, group_id)
            return [member_from_row(row) for row in rows]

        return self._database.read(read)

    def add_members(self, group_id: GroupId, members: Sequence[Member]) -> tuple[int, int]:
        """Inserts who is no member yet, and counts, in one transaction."""
        wanted = {member.user_id: member for member in reversed(members)}
        # In the order of the key: a bulk fills pages one after the other.
        ordered = [wanted[user_id] for user_id in sorted(wanted)]

        def write(statements: Statements) -> tuple[int, int]:
            group, owner_id = _lock_group(statements, group_id)
            new_owner = _new_owner(statements, group_id, [one.user_id for one in ordered if one.role is Role.OWNER], owner_id)
            rows = [sql.member_row(group_id, group.head_seq, member) for member in ordered]
            added = statements.insert(sql.INSERT_MEMBERS, rows, sql.UNLESS_MEMBER)
            if added:
                statements.run(sql.COUNT, group.member_count + added, new_owner or owner_id, group_id)
            return added, group.member_count + added

        return self._database.write(write)

    def remove_members(self, group_id: GroupId, user_ids: Sequence[UserId]) -> tuple[int, int]:
        """Deletes by key and counts, in one transaction."""
        named = sorted(set(user_ids))

        def write(statements: Statements) -> tuple[int, int]:
            group, owner_id = _lock_group(statements, group_id)
            if owner_id in named:
                raise ThrongError(ErrorCode.CONFLICT, "the owner cannot be removed", fields={"group_id": group_id})
            removed = sum(statements.run(sql.delete_members(group_id, part)) for part in chunks(named))
            count = group.member_count - removed
            if removed:
                statements.run(sql.REMOVED, count, len(named), group_id)
            return removed, count

        return self._database.write(write)

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

        def write(statements: Statements) -> Member:
            _, owner_id = _lock_group(statements, group_id)
            member = _member(statements, group_id, user_id)
            if role is not None and role is not member.role:
                check_role(member, role)
                if role is Role.OWNER:
                    _retire(statements, group_id, owner_id)
                    owner_id = user_id
            member = dataclasses.replace(
                member,
                role=member.role if role is None else role,
                muted_until_ms=member.muted_until_ms if muted_until_ms is None else muted_until_ms,
                display_name=member.display_name if display_name is None else display_name,
            )
            _write_member(statements, group_id, member)
            statements.run(sql.CHANGED, owner_id, group_id)
            return member

        return self._database.write(write)

    def get_memberships(self, pairs: Sequence[tuple[GroupId, UserId]]) -> list[tuple[Group | None, Member | None]]:
        """Two look-ups by key for all pairs together."""

        def read(statements: Statements) -> tuple[dict[GroupId, Group], dict[tuple[GroupId, UserId], Member]]:
            groups: dict[GroupId, Group] = {}
            for part in chunks(list(dict.fromkeys(group_id for group_id, _ in pairs))):
                groups.update({GroupId(row[0]): group_from_row(row) for row in statements.rows(sql.find_groups(part))})
            return groups, _read_members(statements, list(dict.fromkeys(pairs)))

        if not pairs:
            return []
        groups, members = self._database.read(read)
        return [(groups.get(group_id), members.get((group_id, user_id))) for group_id, user_id in pairs]

    def list_user_groups(self, user_id: UserId, *, after_group_id: str, limit: int) -> list[tuple[Group, Member]]:
        """One range of the index (user_id, group_id)."""
        rows = self._database.read(lambda statements: statements.rows(sql.USER_GROUPS, user_id, after_group_id, limit))
        return [(group_from_row(row), member_from_row(row[GROUP_WIDTH:])) for row in rows]

    def get_heads(self, group_ids: Sequence[GroupId]) -> list[Position | None]:
        """One look-up by key for all groups together."""
        found = self._find(group_ids, "g.group_id, g.epoch, g.head_seq")
        heads = {row[0]: Position(row[1], row[2]) for row in found}
        return [heads.get(group_id) for group_id in group_ids]

    def get_members_versions(self, group_ids: Sequence[GroupId]) -> list[int]:
        """One look-up by key for all groups together."""
        versions = dict(self._find(group_ids, "g.group_id, g.members_version"))
        return [versions.get(group_id, 0) for group_id in group_ids]

    def _find(self, group_ids: Sequence[GroupId], columns: str) -> list[tuple[Any, ...]]:
        parts = list(chunks(list(dict.fromkeys(group_ids))))
        if not parts:
            return []
        return self._database.read(
            lambda statements: [row for part in parts for row in statements.rows(sql.find_groups(part, columns))]
        )


def _group(statements: Statements, group_id: GroupId) -> Group:
    row = statements.row(sql.GROUP, group_id)
    if row is None:
        raise no_such_group(group_id)
    return group_from_row(row)


def _lock_group(statements: Statements, group_id: GroupId) -> tuple[Group, UserId | None]:
    row = statements.row(sql.LOCK_GROUP, group_id)
    if row is None:
        raise no_such_group(group_id)
    return group_from_row(row), row[GROUP_WIDTH]


def _new_owner(statements: Statements, group_id: GroupId, wanted: Sequence[UserId], owner_id: UserId | None) -> UserId | None:
    """Who of `wanted` becomes the owner; nobody where all of them are members already."""
    if not wanted:
        return None
    present = _read_members(statements, [(group_id, user_id) for user_id in wanted])
    new = [user_id for user_id in wanted if (group_id, user_id) not in present]
    if len(new) > 1 or (new and owner_id is not None):
        raise ThrongError(ErrorCode.CONFLICT, "a group has one owner", fields={"group_id": group_id})
    return new[0] if new else None


def _member(statements: Statements, group_id: GroupId, user_id: UserId) -> Member:
    row = statements.row(sql.MEMBER, group_id, user_id)
    if row is None:
        raise no_such_member(group_id)
    return member_from_row(row)


def _retire(statements: Statements, group_id: GroupId, owner_id: UserId | None) -> None:
    if owner_id is not None:
        former = _member(statements, group_id, owner_id)
        _write_member(statements, group_id, dataclasses.replace(former, role=Role.ADMINISTRATOR))


def _write_member(statements: Statements, group_id: GroupId, member: Member) -> None:
    statements.run(sql.UPDATE_MEMBER, int(member.role), member.muted_until_ms, member.display_name, group_id, member.user_id)


def _read_members(statements: Statements, pairs: Sequence[tuple[GroupId, UserId]]) -> dict[tuple[GroupId, UserId], Member]:
    members: dict[tuple[GroupId, UserId], Member] = {}
    for part in chunks(pairs):
        for row in statements.rows(sql.find_members(part)):
            members[GroupId(row[0]), UserId(row[1])] = member_from_row(row[1:])
    return members
