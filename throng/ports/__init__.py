"""What services need from the outside, each port a document; adapters promise exactly what stands here.

- `clock.py`   time
- `tokens.py`  who a bearer token says somebody is
- `uplink.py`  the log of submitted messages (hops 2 and 3)
"""
