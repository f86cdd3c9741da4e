"""The decisions of unread_svc, pure: no I/O, no clock, no libraries.

- `counting.py`  the count of one user in one window, and when a window cannot tell
- `cursors.py`   merging and bounding of reported cursors
"""
