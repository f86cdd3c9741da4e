"""Technologies behind the ports of unread_svc.

- `sqlite_cursor_store.py`  `CursorStore` in a SQLite file
- `migrations_sqlite/`      its tables
- `mysql_cursor_store.py`   `CursorStore` in MySQL
- `migrations_mysql/`       its table
- `redis_unread_window.py`  `UnreadWindow` in Redis, real or embedded
- `lua/`                    its scripts
- `grpc_group_directory.py` `GroupDirectory` over gRPC to group_svc
"""
