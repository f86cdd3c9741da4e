"""`python -m group_svc`: the same as `throng group`."""

from __future__ import annotations

import sys

from throng.cli.main import main

if __name__ == "__main__":
    main(["group", *sys.argv[1:]])
