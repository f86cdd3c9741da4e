"""How many file descriptors this process may have: raised as far as it goes at start, for every client is one."""

from __future__ import annotations

import resource

UNLIMITED = 1 << 20
"""What an unlimited process is taken to have."""


def raise_file_limit() -> int:
    """Raises the soft limit of open files to the hard one; returns what holds now. Children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass  # some systems name a hard limit that nobody may have: what was allowed before still is
    return UNLIMITED if soft in (resource.RLIM_INFINITY, -1) else soft
