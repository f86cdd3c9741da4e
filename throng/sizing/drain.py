"""The other end of the self-test's sockets: `python -m throng.sizing.drain PORT COUNT` connects, reads all and keeps nothing."""

from __future__ import annotations

import contextlib
import select
import socket
import sys

_CHUNK_BYTES = 1 << 20


def main() -> None:
    """Reads until the other side has closed every connection."""
    port, count = int(sys.argv[1]), int(sys.argv[2])
    with contextlib.ExitStack() as stack:
        sockets = {}
        poll = select.epoll()
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            sock.setblocking(False)
            sockets[sock.fileno()] = sock
            poll.register(sock.fileno(), select.EPOLLIN)
        while sockets:
            for number, _ in poll.poll():
                if _is_over(sockets[number]):
                    poll.unregister(number)
                    del sockets[number]


def _is_over(sock: socket.socket) -> bool:
    try:
        return not sock.recv(_CHUNK_BYTES)
    except BlockingIOError:
        return False
    except OSError:
        return True


if __name__ == "__main__":
    main()
