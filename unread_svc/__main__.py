"""`python -m unread_svc`: the same as `throng unread`."""

import sys

from throng.cli.main import main

if __name__ == "__main__":
    main(["unread", *sys.argv[1:]])
