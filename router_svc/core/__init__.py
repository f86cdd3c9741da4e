"""Decisions of router_svc, without gRPC and Redis.

- `balancer.py`        smooth weighted round robin over edges
- `weights.py`         weight of an edge, by hand or from load
- `recent_assignments.py` clients that were assigned and are in no report yet
- `route_digest.py`    count and XOR hash over the groups of an edge
- `route_table.py`     the local copy of edges and routes
- `delivery_queue.py`  what waits for one edge; shrinks blocks to heads when full
- `directory.py`       keeps the table in step with the registry and answers look-ups
- `online_counts.py`   tells edges how many connections their groups have in all
- `report_session.py`  one edge's stream of reports, written to the registry
- `publishing.py`      from publications to queues of edges
- `task_end.py`        ends tasks for certain
- `inbox.py`           reads a request stream ahead, bounded
"""
