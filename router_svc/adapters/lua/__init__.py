"""Scripts of the registry; each touches keys of one hash tag only, so that they run on a cluster.

- `register.lua`     begins a session of an edge
- `heartbeat.lua`    refreshes an edge's record
- `note_groups.lua`  notes in an edge's own index which groups it holds
- `deregister.lua`   removes an edge that said good-bye
- `put_route.lua`    writes one route, unless a newer one stands there
- `order.lua`        notes what an operator orders of an edge
- `drop_route.lua`   removes one route, unless it is newer than what is swept
- `tell_edge.lua`    stands before the text of `register`, `heartbeat` and `order`: how they tell an edge to all replicas
"""
