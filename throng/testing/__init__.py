"""For tests of Throng and of programs that use it.

- `fake_clock.py`  a clock that tests turn by hand
"""
