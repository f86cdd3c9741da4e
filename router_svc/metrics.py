"""What router_svc measures; children are kept, since the paths that count are hot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from router_svc.core.delivery_queue import Push
from throng.runtime.redis_metrics import RedisMetrics

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class BiggestGroups(Collector):
    """A few groups with a label each; the number of labels stays bounded, for those that are not among them any more vanish."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._shown: tuple[tuple[str, int], ...] = ()
        registry.register(self)

    def show(self, sizes: Sequence[tuple[str, int]]) -> None:
        """(group, connections) of the biggest groups from now on."""
        self._shown = tuple(sizes)

    def collect(self) -> Iterator[Metric]:
        """Any thread."""
        text = "Connections, on all edges together, of the biggest groups that edges report to this replica; ten at most."
        family = GaugeMetricFamily("throng_router_biggest_group_online", text, labels=["group_id"])
        for group_id, online in self._shown:
            family.add_metric([group_id], online)
        yield family


class RouterMetrics:
    """All metrics of one router replica."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"throng_router_{name}", text, registry=registry)

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"throng_router_{name}", text, labels, registry=registry)

        self.edges_alive = gauge("edges_alive", "Edges that this replica takes for alive.")
        self.links_up = gauge("deliver_links_up", "Edges to which a Deliver stream is open (hop 6).")
        self.table_groups = gauge("table_groups", "Groups in the local route table, those without routes too.")
        self.table_in_step = gauge("table_in_step", "1 while the local table follows the registry, else 0.")
        self.report_streams = gauge("report_streams", "ReportRoutes streams that are open.")
        self.publish_streams = gauge("publish_streams", "Publish streams that are open (hop 5).")
        self.queue_events = gauge("deliver_queue_events", "Events that wait in the queues of all edges (hop 6).")
        self.queue_events_max = gauge("deliver_queue_events_max", "Events that wait in the longest queue of an edge.")
        self.queue_bytes = gauge("deliver_queue_bytes", "Bytes that wait in the queues of all edges.")

        publications = counter("publications_total", "Publications by outcome (hop 5).", ("outcome",))
        self.published_queued = publications.labels("queued")
        self.published_no_route = publications.labels("no_route")
        self.published_edge_gone = publications.labels("edge_gone")
        self.deliveries = counter("deliveries_total", "Events queued for edges: a publication counts once per edge (hop 6).")
        self.delivered_events = counter("delivered_events_total", "Events written to Deliver streams.")
        self.delivered_batches = counter("delivered_batches_total", "Messages written to Deliver streams.")
        overflows = counter("deliver_queue_overflows_total", "Events for which a queue had no room, by what was done.", ("action",))
        self.overflows = {push: overflows.labels(push.value) for push in Push if push is not Push.QUEUED}
        self.shrunk_blocks = counter("shrunk_blocks_total", "Blocks that became a head notice.")
        link_breaks = counter("deliver_link_breaks_total", "Deliver streams that ended, by reason.", ("reason",))
        self.link_breaks = {reason: link_breaks.labels(reason) for reason in ("refused", "broken", "stalled")}

        lookups = counter("route_lookups_total", "Look-ups of a group's routes, by where the answer came from.", ("source",))
        self.lookups = {source: lookups.labels(source) for source in ("table", "registry", "stale_table", "none")}
        self.lookup_waits = counter("route_lookup_waits_total", "Look-ups that waited for one already under way (single flight).")
        self.channel_breaks = counter("change_channel_breaks_total", "Times that the change channel of the registry broke.")
        self.registry_errors = counter("registry_errors_total", "Calls of the registry (Redis) that failed.")
        self.redis = RedisMetrics("router", registry)
        self.swept_edges = counter("swept_edges_total", "Edges of which the registry was cleaned.")
        edges_dropped = counter("edges_dropped_total", "Edges that are no longer alive, by reason.", ("reason",))
        self.edges_dropped = {reason: edges_dropped.labels(reason) for reason in ("expired", "good_bye")}
        snapshots = counter("snapshots_wanted_total", "Snapshots asked of edges, by reason.", ("reason",))
        self.snapshots_wanted = {reason: snapshots.labels(reason) for reason in ("missing", "count", "digest")}
        self.reports = counter("reports_total", "Reports of edges that were taken over.")
        assignments = counter("assignments_total", "AssignEdge calls by outcome.", ("outcome",))
        self.assigned = assignments.labels("assigned")
        self.not_assigned = assignments.labels("none")
        self.online_events = counter("online_events_total", "Events with online counts, at most one a second and edge.")
        self.biggest = BiggestGroups(registry)
        self.online_groups = counter("online_groups_total", "Online counts in those events: a sum that changed, once per edge.")
        self.queued_seconds = Histogram(
            "throng_router_publish_to_queued_seconds",
            "From the receipt of a batch of publications to its being queued for all edges (hops 5 and 6).",
            buckets=_SECONDS,
            registry=registry,
        )
        self.report_seconds = Histogram(
            "throng_router_report_to_applied_seconds",
            "From taking reports of an edge in hand to their standing in the registry.",
            buckets=_SECONDS,
            registry=registry,
        )
