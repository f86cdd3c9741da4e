"""Which edges hold which group, and push fan-out to them (hops 5 and 6).

In: `ReportRoutes` streams of edges, `Publish` streams of group_svc. Out: one `EdgeService.Deliver` stream to each edge.

    edges --ReportRoutes--> servicer -> core/report_session -> RouteRegistry (Redis) --change channel--> every replica
                                                                                          |
    group_svc --Publish--> servicer -> core/publishing -> core/directory (table) <--------'
                                            `-> adapters/edge_links: a queue per edge --Deliver--> edges

Invariants: Redis is the truth and replicas share nothing else; a route counts only once it is in Redis; events of one group
reach one edge in the order in which they were published; each edge has one bounded queue, in which blocks shrink to one head
per group and never to silence (I8); what is lost here is healed by the comparison of heads (I6).

- `app.py`       composition root: starts and stops in order
- `settings.py`  settings, `THRONG_ROUTER_…`
- `metrics.py`   what is measured
- `ports.py`     `RouteRegistry`, `EdgeDelivery` and their values
- `servicer.py`  RouterService: protos in and out
- `core/`        pure decisions: balancing, route table, delivery queue, digest, report sessions, publishing
- `adapters/`    the registry over Redis, Deliver streams over gRPC
"""
