"""unread_svc: how far people have read, and how much they have not (hops 5b and 8, invariant I7). Made of threads.

    edge ---ReportCursors, GetUnreadCounts, BatchGetUnread--> servicer --> counter --> CursorStore  (SQLite, MySQL)
    group_svc ---Observe (may lose anything)----------------> servicer              `-> UnreadWindow (Redis)
                 <--BatchGetMembers, ListCountable, GetHeads------------- GroupDirectory

What always holds: a count is the exact number of messages of others above the cursor that were not recalled, 0 to 99, and
"99+" above. A window answers only for what it is known to be complete; everything else is asked of group_svc.

- `app.py`       composition root: builds, starts and stops the service
- `settings.py`  what an operator can set
- `metrics.py`   what an operator can see
- `ports.py`     what the service needs from the outside
- `core/`        counting, gaps and cursors, pure
- `counter.py`   counts of many pairs: cursors, then windows, then what group_svc says
- `rebuild.py`   rebuilds windows, one flight per group
- `best_effort_window.py` the window as long as Redis answers
- `head_bound.py` keeps reported cursors at or below the head
- `servicer.py`  gRPC in
- `wire.py`      protos to values, checked, and back
- `adapters/`    SQLite, Redis, gRPC
- `__main__.py`  `python -m unread_svc`
"""
