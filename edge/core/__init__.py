"""The hub, which owns sockets, and the sessions above it, which own meaning; pure but for the hub's sockets (hops 1, 6, 7, 8).

In come bytes of clients and events of routers; out go frames to sockets and calls of `edge.ports.Upstream`. One thread, no
tasks, no waiting: what takes time calls back, and `EdgeSessions.tick` keeps all times.

    sockets == hub == sessions --- entering, reading, submissions, read_cursors ---> upstream
                        '--------- rooms: feed, range_reader, message_cache <------- events

Invariants: blocks of a group are delivered in order, and what is missing is fetched (I5, I6); nothing of a group is sent on a
connection that takes no part in it (I9); every list here is bounded (I8); recalled messages are served blanked.

The hub:
- `hub.py`              connections from the 101 answer to the end, in one nested epoll
- `hub_settings.py`     its limits and intervals
- `hub_counters.py`     what it counts
- `connection.py`       one connection
- `ready_turns.py`        sockets that are ready, some in each turn
- `reader.py`           bytes in
- `sender.py`           frames out to one connection
- `outbox.py`           what a slow connection has not taken
- `socket_array.py`     sockets that get the same frames
- `array_pair.py`       those with compression and those without
- `bulk_send.py`        a loop outside the interpreter, where there is one
- `fan_out.py`          shared frames to arrays, in slices
- `in_turns.py`         many that end or waited at once, some in each turn
- `timing_wheel.py`     heartbeats

The sessions:
- `sessions.py`         requests and events meet here
- `session.py`          one session, and its part in each group
- `session_settings.py` bounds and paces
- `session_counters.py` what is counted
- `latency_counts.py`   a histogram for hot paths
- `links.py`            what sessions need of the hub
- `codec.py`            what they need of the wire format
- `requests.py`         what clients ask
- `responses.py`        what they are told
- `replies.py`          answers and refusals
- `retry_spread.py`     when refused clients shall come again
- `users.py`            users, their last sends and ACKs
- `parts.py`            parts in groups begun and ended
- `entering.py`         taking part: membership, page, counts together
- `membership.py`       whether a user takes part: by a resume token, or asked
- `resume_tokens.py`    a known membership, signed
- `reading.py`          pull, history, lists, cursors, deletions
- `page_cut.py`         what fits into one answer
- `submissions.py`      sends and recalls until their answer
- `answer_watch.py`     refuses submissions while no answers come
- `send_door.py`        interval, slow mode and this edge's share of a group's budget
- `budget_share.py`     the buckets of that share, and the lot
- `send_rules.py`       what a submission must look like
- `read_cursors.py`     cursors in batches
- `departures.py`       token expiry, idle pages, drain

The rooms:
- `rooms.py`            made with the first connection, dropped with the last; route counts
- `room.py`             a group's position, cache and sockets
- `message_cache.py`    its newest messages
- `feed.py`             blocks in order, gaps closed
- `head_watch.py`       heads compared every 2 s
- `member_watch.py`     asks who is a member when a change was missed
- `presence.py`         online counts, and heads for hidden pages, paced
- `range_reader.py`     ranges from cache or upstream
- `single_flight.py`    one call however many wait
"""
