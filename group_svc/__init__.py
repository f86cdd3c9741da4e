"""group_svc: groups, members, messages; the one writer of a group (hops 3 to 5b). Made of threads.

In: the uplink, gRPC (GroupService, MessageService, UplinkService). Out: publications to router_svc, observations to unread_svc.
Owns the tables chat_group, group_member, message, message_deleted_for_user and the Redis keys `throng:group:`.

    uplink -> consumer (checks, or lane 1..N) -> commit queue -> writer -> finisher -> blocks, answers, cache, offsets

Holds I1 (dense seqs), I2 (one seq per id), I3 (ACK means durable), I4 (a session's order): lanes keep one user's order, the
queue never lets a user overtake themself, the store numbers under its lock, and nothing is answered before the commit.

- `app.py`               composition root
- `settings.py`          `THRONG_GROUP_…`
- `metrics.py`           `throng_group_…`
- `ports.py`             what is needed from the outside
- `ingest.py`            the consumer (hop 3)
- `checks.py`            checks in the consumer's thread, and what both ways share
- `lanes.py`             lanes for checks that may wait, one user always in the same one
- `lane.py`              one of them
- `writer.py`            commits in batches (hop 4)
- `finisher.py`          what follows a commit, beside the next one
- `write_path.py`        ingest, writer and blocks put together
- `servicer.py`          GroupService
- `message_servicer.py`  MessageService
- `uplink_servicer.py`   UplinkService, the log for edges in other processes
"""
