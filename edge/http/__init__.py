"""HTTP of an edge, served by Tornado in the hub's loop: the door for clients (hop 1), the page, and what operators ask.

A request comes in; an answer goes out, or the socket leaves for the hub. Nothing here blocks the loop.

- `acceptor.py`         listening sockets, as long as there are descriptors
- `application.py`      addresses and handlers, limits of the server
- `services.py`         what the handlers work with
- `json_handler.py`     base: JSON, errors as {code, text}, headers
- `admission.py`        the checks of an upgrade, in order, pure
- `handshake_budget.py` upgrades per second
- `upgrade_gate.py`     budget, checks, room, and the door
- `quick_upgrade.py`    plain upgrades straight from the accepted socket
- `request_head.py`     their head, pure
- `upgrade.py`          `/ws` as Tornado reads it, and out of Tornado
- `api.py`              `/v1/assign`, `/v1/config`, `/v1/login`
- `login.py`            a name becomes a user
- `site.py`             the built page in memory
- `pages.py`            the page's files
- `operations.py`       `/healthz`, `/readyz`, `/metrics`
- `readiness.py`        whether new clients may come
"""
