"""The edge's neighbours over gRPC, the wire format of clients, and the ways between the two threads.

- `grpc_upstream.py`  `Upstream`: group_svc and unread_svc (hops 2 and 8)
- `call_batches.py`   single requests into batched calls
- `route_reporter.py` what this edge holds, to a router (design 7)
- `route_table.py`    the same as counts, changes and digest
- `router_client.py`  an edge with room for a client
- `link_watch.py`     whether group_svc answers
- `client_codec.py`   both subprotocols of clients (hops 1 and 7), made of:
- `client_codec_protobuf.py`  binary frames
- `client_codec_json.py`      text frames
- `client_codec_requests.py`  ClientFrame into requests
- `client_codec_responses.py` responses into ServerFrame
- `message_json.py`            a message in JSON
- `client_codec_messages.py`  the little that sessions know of a message
- `hub_gate.py`       delivered events into the hub thread (hop 6)
- `loop_mailbox.py`   batches into a loop from any thread
- `raw_pages.py`      pages of messages, which stay the bytes they are
- `proto_values.py`   generated messages into values
"""
