"""The edge's neighbours over gRPC, the wire format of clients, and the ways between the two threads.

- `grpc_upstream.py`  `Upstream`: group_svc and unread_svc (hops 2 and 8)
- `call_batches.py`   single requests into batched calls
- `route_reporter.py` what this edge holds, to a router (design 7)
- `route_table.py`    the same as counts, changes and digest
- `router_client.py`  an edge with room for a client
- `link_watch.py`     whether group_svc answers
- `hub_gate.py`       delivered events into the hub thread (hop 6)
- `loop_mailbox.py`   batches into a loop from any thread
- `proto_values.py`   generated messages into values
"""
