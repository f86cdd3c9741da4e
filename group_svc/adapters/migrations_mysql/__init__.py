"""Numbered forward-only migrations of group_svc's tables in MySQL, applied by `throng migrate`.

- `0001_groups_and_messages.sql`  chat_group, group_member, message, message_deleted_for_user (design 5)
"""
