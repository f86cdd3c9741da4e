"""The edge: terminates clients' WebSockets, holds their sessions and fans messages out to them (hops 1, 2, 6, 7, 8).

In come upgrades and frames of clients, and events that routers deliver; out go submissions to the uplink, routes to a router,
reads to group_svc and unread_svc, and ready frames to sockets.

    client ==socket== hub ---- sessions ---- upstream ==gRPC== group_svc, unread_svc, uplink
                       '- hub thread -'       '- business thread -' ==gRPC== router_svc

Invariants: the hub thread never waits; nothing but the two mailboxes crosses between the threads; no idle connection owns a
task, a timer or a queue (I8); a user gets no byte of a group before its membership is checked (I9).

- `app.py`       composition root: both threads, start and stop in order
- `business.py`  its half that speaks gRPC and Kafka
- `settings.py`  what an operator may choose
- `metrics.py`   what is counted
- `ports.py`     what sessions need from the services behind the edge, and what they are told
- `servicer.py`  EdgeService: what routers deliver, drain
- `front.py`     the addresses of HTTP, and when they are listened on
- `descriptors.py` how many clients the limit of open files allows
- `door.py`      hub and sessions together
- `load.py`      how busy the edge is
- `http/`        Tornado: the upgrade, the page, `/v1/…`, health, metrics
- `protocol/`    RFC 6455, pure
- `core/`        hub and sessions, pure but for sockets
- `adapters/`    gRPC and codecs
- `static/`      the built page (not committed)
- `__main__.py`  `python -m edge`
"""
