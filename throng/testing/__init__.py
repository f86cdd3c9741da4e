"""For tests of Throng and of programs that use it.

- `fake_clock.py`  a clock that tests turn by hand
- `servers/`       real Kafka, MariaDB and Redis on this machine, and a TCP proxy that makes faults
"""
