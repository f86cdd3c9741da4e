"""For tests of Throng and of programs that use it.

- `certificates.py` a throw-away CA, its certificates, and all files of a secured cluster
- `fake_clock.py`  a clock that tests turn by hand
- `servers/`       real Kafka, MariaDB and Redis on this machine, and a TCP proxy that makes faults
"""
