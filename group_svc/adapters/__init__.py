"""What group_svc reaches by technology; named by `app.py` alone, but for the codecs.

- `sqlite_message_store.py`, `sqlite_membership_store.py`  the durable stores in one file (tables in `migrations_sqlite`)
- `sql_rows.py`               rows of SQL tables and what they mean, the same for SQLite and MySQL
- `mysql_message_store.py`, `mysql_membership_store.py`  the durable stores in MySQL (tables in `migrations_mysql`)
- `mysql_rows.py`             their statements
- `membership_rules.py`       what stores refuse in the same words, apart from SQL
- `commit_plan.py`            what a commit writes, apart from SQL
- `redis_recent_messages.py`  the newest messages, real or embedded (scripts in `lua`)
- `stored_message_codec.py`   stored messages as protos
- `group_codec.py`            groups and members as protos
- `event_codec.py`            publications as protos
- `publish_queue.py`          what waits for a router
- `grpc_publisher.py`         the stream to a router (hop 5)
- `grpc_answer_forwarder.py`  answers to callers in other group services (hop 5)
- `grpc_unread_observer.py`   the stream to unread_svc (hop 5b)
- `memory_answer_waiters.py`  callers in this process that wait
- `proto_body_inspector.py`   reads bodies for the checks
- `word_list_safety.py`       forbidden words
- `watched_word_list.py`      forbidden words in a file that may change
- `grpc_safety_hook.py`       asks a service of the installer's about messages (hop 3)
"""
