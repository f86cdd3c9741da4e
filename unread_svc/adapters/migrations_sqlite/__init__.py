"""Tables of unread_svc in SQLite, as numbered forward-only migrations."""
