"""The four storms, and the backends as Throng sees them."""

from __future__ import annotations

from panels import Board, Metrics, Panel, Query
from shared import HUB_LATE, SHRUNK

_all = Metrics()


def _rate(metric: str, legend: str, match: str = "") -> Query:
    return Query(f"{_all.rate(metric, match=match)}{' or vector(0)' if match else ''}", legend)


STORMS = Board(
    uid="throng-storms",
    title="Throng: storms",
    description="Sending, notifying, pulling, reconnecting: what comes, what is let through, what it costs behind the edges.",
    rows=(
        (
            "Sending",
            (
                Panel(
                    "Offered and ACKed",
                    "The ACK rate stays flat while the offered load grows: what is too much is refused at the edge.",
                    "reqps",
                    (
                        _rate("throng_edge_submissions_total", "submitted to the uplink", 'outcome="submitted"'),
                        _rate("throng_edge_submissions_total", "ACKed", 'outcome="acked"'),
                        _rate("throng_edge_submissions_total", "refused: too fast", 'outcome=~"rate_limited|group_busy"'),
                        _rate("throng_edge_submissions_total", "refused: no room", 'outcome=~"unavailable|resource_exhausted"'),
                    ),
                ),
                Panel(
                    "Refused at the door",
                    "Submissions refused for their pace before they cost anything behind the edge, by reason (hop 1).",
                    "reqps",
                    (Query(_all.rate("throng_edge_door_refusals_total", "reason"), "{{reason}}"),),
                    stack=True,
                ),
                Panel(
                    "Behind the edge",
                    "What group services stored and refused.",
                    "reqps",
                    (Query(_all.rate("throng_group_submissions_total", "outcome"), "{{outcome}}"),),
                ),
                Panel(
                    "Connections read more slowly",
                    "Times that a connection was not read for the rest of a second because it sent too much.",
                    "reqps",
                    (_rate("throng_edge_read_pauses_total", "pauses"),),
                ),
            ),
        ),
        (
            "Notifying",
            (
                Panel(
                    "Frames per pass",
                    "How much one pass over a group's sockets carries.",
                    "short",
                    (
                        Query(
                            f"{_all.rate('throng_edge_fan_out_frames_total')} / {_all.rate('throng_edge_fan_out_passes_total')}",
                            "frames per pass",
                        ),
                    ),
                ),
                Panel(
                    "Waiting frames",
                    "Frames that wait for a pass, by edge.",
                    "short",
                    (Query(_all.total("throng_edge_pending_frames", "instance"), "{{instance}}"),),
                ),
                SHRUNK,
            ),
        ),
        (
            "Pulling",
            (
                Panel(
                    "Pulls and where they end",
                    "However many pull, few calls reach group services.",
                    "reqps",
                    (
                        _rate("throng_edge_pulls_total", "pulls"),
                        _rate("throng_edge_cache_hits_total", "from the cache"),
                        _rate("throng_edge_single_flight_waits_total", "waited for another's read"),
                        _rate("throng_edge_cache_misses_total", "reads of group services"),
                    ),
                ),
                Panel(
                    "Calls behind the edges",
                    "Calls to group and unread services, by method.",
                    "reqps",
                    (Query(_all.rate("throng_edge_upstream_calls_total", "method"), "{{method}}"),),
                ),
                Panel(
                    "Refused behind the edge",
                    "Calls for which there was no room, and requests given up while they waited (I8).",
                    "reqps",
                    (
                        _rate("throng_edge_upstream_calls_refused_total", "calls"),
                        _rate("throng_edge_upstream_requests_shed_total", "requests"),
                    ),
                ),
            ),
        ),
        (
            "Reconnecting",
            (
                Panel(
                    "Handshakes",
                    "By outcome: what is over the budget gets 503 and comes later.",
                    "reqps",
                    (Query(_all.rate("throng_edge_handshakes_total", "outcome"), "{{outcome}}"),),
                    stack=True,
                ),
                Panel(
                    "Groups entered",
                    "All, and those for which a resume token stood in for a look-up.",
                    "reqps",
                    (_rate("throng_edge_enters_total", "entered"), _rate("throng_edge_resumes_total", "by token")),
                ),
                HUB_LATE,
            ),
        ),
    ),
)


def _redis(service: str) -> Query:
    return Query(_all.rate(f"throng_{service}_redis_errors_total", "kind"), f"{service}: {{{{kind}}}}")


BACKENDS = Board(
    uid="throng-backends",
    title="Throng: backends",
    description="Kafka, MySQL and Redis as Throng's services see them.",
    rows=(
        (
            "Kafka",
            (
                Panel(
                    "Takes records",
                    "1 where Kafka acknowledges; the lowest of all processes that write.",
                    "short",
                    (Query(_all.lowest("throng_edge_kafka_producer_reachable", "instance"), "{{instance}}"),),
                    amber=1,
                    red=1,
                    below=True,
                ),
                Panel(
                    "On their way",
                    "Records without an outcome; bounded (I8).",
                    "short",
                    (Query(_all.total("throng_edge_kafka_producer_records", "instance"), "{{instance}}"),),
                ),
                Panel(
                    "Refused",
                    "Records refused, by reason.",
                    "reqps",
                    (Query(_all.rate("throng_edge_kafka_producer_refused_total", "reason"), "{{reason}}"),),
                ),
                Panel(
                    "Lag",
                    "Records that were not read yet, by group service.",
                    "short",
                    (Query(_all.total("throng_group_uplink_lag_records", "instance"), "{{instance}}"),),
                    amber=5_000,
                    red=20_000,
                ),
                Panel(
                    "Partitions",
                    "Partitions read by each group service, and how often they moved (per second).",
                    "short",
                    (
                        Query(_all.total("throng_group_kafka_consumer_partitions", "instance"), "{{instance}}"),
                        Query(_all.rate("throng_group_kafka_consumer_rebalances_total"), "moved"),
                    ),
                ),
                Panel(
                    "Given up",
                    "Clients of Kafka made anew, and poison records set aside or lost.",
                    "reqps",
                    (
                        _rate("throng_edge_kafka_producer_rebuilds_total", "producers"),
                        Query(_all.rate("throng_group_kafka_dead_letters_total", "outcome"), "poison: {{outcome}}"),
                    ),
                ),
            ),
        ),
        (
            "MySQL",
            (
                Panel(
                    "Commit",
                    "Time of one commit of messages.",
                    "s",
                    _all.quantiles("throng_group_persist_seconds"),
                    amber=0.1,
                    red=0.5,
                ),
                Panel(
                    "Connections",
                    "Connections that are lent.",
                    "short",
                    (
                        Query(_all.total("throng_group_mysql_connections_in_use"), "group"),
                        Query(_all.total("throng_unread_mysql_connections_in_use"), "unread"),
                    ),
                ),
                Panel(
                    "Waits for a connection",
                    "Calls that found none free, per second.",
                    "reqps",
                    (
                        _rate("throng_group_mysql_wait_seconds_count", "group"),
                        _rate("throng_unread_mysql_wait_seconds_count", "unread"),
                    ),
                ),
                Panel(
                    "Failures",
                    "Connections that broke or could not be opened, by reason.",
                    "reqps",
                    (
                        Query(_all.rate("throng_group_mysql_failures_total", "reason"), "group: {{reason}}"),
                        Query(_all.rate("throng_unread_mysql_failures_total", "reason"), "unread: {{reason}}"),
                    ),
                ),
                Panel(
                    "Repeated",
                    "Reads and transactions repeated, by reason.",
                    "reqps",
                    (
                        Query(_all.rate("throng_group_mysql_retries_total", "reason"), "group: {{reason}}"),
                        Query(_all.rate("throng_unread_mysql_retries_total", "reason"), "unread: {{reason}}"),
                    ),
                ),
                Panel(
                    "Commits repeated",
                    "Because the store was away.",
                    "reqps",
                    (_rate("throng_group_persist_retries_total", "commits"),),
                ),
            ),
        ),
        (
            "Redis",
            (
                Panel("Errors", "Commands that failed, by kind.", "reqps", (_redis("group"), _redis("router"), _redis("unread"))),
                Panel(
                    "Cache of recent messages",
                    "Reads by result, and writes that failed.",
                    "reqps",
                    (
                        Query(_all.rate("throng_group_recent_reads_total", "result"), "{{result}}"),
                        _rate("throng_group_recent_put_failures_total", "writes failed"),
                    ),
                ),
                Panel(
                    "Registry of routes",
                    "Breaks of the change channel and calls that failed.",
                    "reqps",
                    (
                        _rate("throng_router_change_channel_breaks_total", "channel"),
                        _rate("throng_router_registry_errors_total", "calls"),
                    ),
                ),
            ),
        ),
    ),
)
