"""Ports of router_svc over a technology each.

- `redis_route_registry.py`  `RouteRegistry` over Redis, real or embedded
- `redis_changes.py`         the change channel: pub/sub with proof of life
- `redis_format.py`          keys, values and change messages as they stand in Redis
- `lua/`                     scripts, each on the keys of one hash tag
- `edge_links.py`            `EdgeDelivery`: one link per edge that is alive
- `edge_link.py`             one link: a bounded queue and the Deliver stream that empties it
"""
