"""What every `MembershipStore` over SQL refuses in the same words, whatever the database (hop 4)."""

from __future__ import annotations

from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Member, Role
from throng.domain.ids import GroupId


def no_such_group(group_id: GroupId) -> ThrongError:
    """Makes the error for a group that does not exist."""
    return ThrongError(ErrorCode.GROUP_NOT_FOUND, "there is no such group", fields={"group_id": group_id})


def no_such_member(group_id: GroupId) -> ThrongError:
    """Makes the error for a user who is no member."""
    return ThrongError(ErrorCode.NOT_A_MEMBER, "this user is no member of the group", fields={"group_id": group_id})


def check_role(member: Member, role: Role) -> None:
    """Looks whether a member may get another role.

    Raises:
        ThrongError: INVALID_ARGUMENT for no role; CONFLICT for taking the owner's away.
    """
    if role is Role.NONE:
        raise ThrongError(ErrorCode.INVALID_ARGUMENT, "a member must have a role", fields={"field": "role"})
    if member.role is Role.OWNER:
        raise ThrongError(ErrorCode.CONFLICT, "the owner's role can only be given to another member")
