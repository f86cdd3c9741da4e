"""What group_svc decides, without I/O: checks, limits, order, blocks, caches over ports.

- `body_check.py`        what a body may be
- `group_rules.py`       what groups, members and pages may be
- `membership_cache.py`  groups and members, a few seconds old at most
- `send_intervals.py`    the least time between two messages of one user
- `budgets.py`           messages per second of a group
- `rate_limits.py`       interval and budget together
- `admission.py`         all checks in order: a record becomes a candidate
- `pending.py`           a candidate and its place in the uplink
- `safety_gate.py`       holds messages until the safety hook has decided
- `commit_queue.py`      candidates that wait for the writer; groups take turns, HIGH first
- `hot_groups.py`        which groups are hot
- `completion.py`        what follows a commit: blocks, answers, cache, offsets
- `offsets.py`           which records are handled
- `history.py`           messages from the cache or the store
- `blocks.py`            forms blocks, pure
- `block_pump.py`        sends blocks when they are due
- `internal_origin.py`   where internal callers wait
- `answers.py`           to whom answers go
- `submitter.py`         the road of internal programs
- `directory.py`         groups and members: store, forget, tell
"""
