"""Numbered forward-only migrations of group_svc's SQLite file, applied by `throng.adapters.sqlite_database`.

- `0001_groups_and_messages.sql`  chat_group, group_member, message, message_deleted_for_user (design 5)
"""
