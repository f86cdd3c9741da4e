"""`python -m router_svc`: the same as `throng router`."""

from __future__ import annotations

import sys

from throng.cli.main import main

if __name__ == "__main__":
    sys.argv[0] = "throng"
    main(["router", *sys.argv[1:]])
