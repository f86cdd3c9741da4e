"""The optional native part of a fan-out (hop 7): one C file, compiled on request, that sends a buffer to many sockets.

In: descriptors and bytes; out: who did not take them whole. It holds no state and knows nothing of frames. While it runs, the
interpreter lock is free, so the business thread goes on. A plain install has no compiled library, and the hub's pure loop does the
same work; both pass the same tests.

    python -m edge.native.build --cc--> library --ctypes--> bulk_send --> edge.core.fan_out

- `fan_out.c`    the loop
- `build.py`     compiles it, once per machine
- `library.py`   finds and opens what was compiled
"""
