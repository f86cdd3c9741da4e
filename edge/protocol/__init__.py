"""RFC 6455 as a server needs it: pure, bytes in and events out (hops 1 and 7).

In: the headers of an upgrade request; then whatever the socket gave. Out: the answer; then events, and frames to send.
No sockets, no clocks, no state per connection unless a frame or a fragmented message is incomplete.

    request headers --handshake--> accept key, subprotocol, token, extension
    socket bytes ----parser------> Message | Ping | Pong | Close | Failed
    payload ---------frames------> bytes to send, the same for every client of a group
    frame -----------deflate-----> the same for every client that negotiated permessage-deflate

Invariants: whatever the bytes, `parse` returns and never raises; after `Failed` or `Close` nothing of the input counts.

- `frames.py`     opcodes and builders of server frames
- `events.py`     what the parser reports
- `masking.py`    undoing the mask of client frames
- `parser.py`     client bytes to events
- `deflate.py`    permessage-deflate: offers, compressed frames, inflating within a bound
- `handshake.py`  upgrade request: key, subprotocol, token, extension
"""
