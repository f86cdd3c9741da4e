"""Numbered forward-only migrations of unread_svc's table in MySQL, applied by `throng migrate`.

- `0001_read_cursor.sql`  read_cursor (design 5)
"""
