"""`python -m edge`: the same as `throng edge`."""

from __future__ import annotations

import sys

from throng.cli.main import main

if __name__ == "__main__":
    sys.argv[0] = "throng"
    main(["edge", *sys.argv[1:]])
