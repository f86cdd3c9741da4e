"""One dashboard per service: what it does, what waits in it, what it calls, what failed in it."""

from __future__ import annotations

from panels import Board, Metrics, Panel, Query

_one = Metrics(one=True)


def _rates(title: str, description: str, **named: str) -> Panel:
    """Counters per second."""
    queries = tuple(Query(_one.rate(metric), name.replace("_", " ")) for name, metric in named.items())
    return Panel(title, description, "reqps", queries)


def _levels(title: str, description: str, unit: str = "short", **named: str) -> Panel:
    """Gauges, summed."""
    queries = tuple(Query(_one.total(metric), name.replace("_", " ")) for name, metric in named.items())
    return Panel(title, description, unit, queries)


def _by_label(title: str, description: str, metric: str, label: str) -> Panel:
    """A counter per second for each value of a label."""
    return Panel(title, description, "reqps", (Query(_one.rate(metric, label), f"{{{{{label}}}}}"),), stack=True)


def _process() -> tuple[str, tuple[Panel, ...]]:
    """What every process has."""
    return (
        "Process",
        (
            Panel(
                "CPU",
                "Cores that each process uses.",
                "short",
                (Query(f"rate({_one.of('process_cpu_seconds_total')}[$__rate_interval])", "{{instance}}"),),
                amber=0.8,
                red=0.95,
            ),
            Panel(
                "Memory",
                "Resident memory of each process.",
                "bytes",
                (Query(_one.of("process_resident_memory_bytes"), "{{instance}}"),),
            ),
            Panel(
                "Open files",
                "Descriptors in use as a share of the limit.",
                "percentunit",
                (Query(f"{_one.of('process_open_fds')} / {_one.of('process_max_fds')}", "{{instance}}"),),
                amber=0.8,
                red=0.95,
            ),
        ),
    )


def _rpc(service: str) -> tuple[str, tuple[Panel, ...]]:
    return (
        "gRPC served",
        (
            Panel(
                "Calls by method",
                "Calls that ended, per second.",
                "reqps",
                (Query(_one.rate(f"throng_{service}_grpc_requests_total", "method"), "{{method}}"),),
                width=12,
            ),
            Panel(
                "Calls by code",
                "How calls ended; streams end with CANCELLED when their caller leaves.",
                "reqps",
                (Query(_one.rate(f"throng_{service}_grpc_requests_total", "code"), "{{code}}"),),
                width=12,
            ),
        ),
    )


EDGE = Board(
    uid="throng-edge",
    title="Throng: edge",
    description="Connections, fan-out, cache and calls of edges.",
    instances="throng_edge_connections",
    rows=(
        (
            "Connections",
            (
                _levels(
                    "Connections",
                    "Open connections, and sessions on them.",
                    open="throng_edge_connections",
                    sessions="throng_edge_sessions",
                ),
                _by_label("Handshakes", "Upgrades by outcome (hop 1).", "throng_edge_handshakes_total", "outcome"),
                _by_label("Ends", "By close code.", "throng_edge_closes_total", "reason"),
            ),
        ),
        (
            "Fan-out (hop 7)",
            (
                _rates(
                    "Frames, passes, slices",
                    "Frames joined into passes, passes run in slices of 2 ms.",
                    frames="throng_edge_fan_out_frames_total",
                    passes="throng_edge_fan_out_passes_total",
                    slices="throng_edge_fan_out_slices_total",
                ),
                _rates(
                    "Sends",
                    "Sends per second, and those that the kernel did not take whole.",
                    sends="throng_edge_sends_total",
                    not_whole="throng_edge_blocked_sends_total",
                ),
                Panel(
                    "Publish to last send",
                    "From publishing a block to its last send (hops 5 to 7).",
                    "s",
                    _one.quantiles("throng_edge_publish_to_last_send_seconds"),
                    amber=1.0,
                    red=1.5,
                ),
                _levels(
                    "Slow clients",
                    "Connections whose client takes nothing at the moment.",
                    blocked="throng_edge_blocked_connections",
                ),
                _levels("Outboxes", "Bytes that wait for slow clients; bounded (I8).", "bytes", bytes="throng_edge_outbox_bytes"),
                Panel(
                    "Hub thread late",
                    "How late the hub's timer ran.",
                    "s",
                    _one.quantiles("throng_edge_loop_delay_seconds"),
                    amber=0.1,
                    red=0.5,
                ),
            ),
        ),
        (
            "Messages and calls",
            (
                _by_label("Submissions", "By outcome (hop 1).", "throng_edge_submissions_total", "outcome"),
                Panel(
                    "Submit to ACK",
                    "What senders wait for.",
                    "s",
                    _one.quantiles("throng_edge_submit_to_ack_seconds"),
                    amber=0.5,
                    red=1.0,
                ),
                _rates(
                    "Cache",
                    "Reads by where they were answered (hop 8).",
                    hits="throng_edge_cache_hits_total",
                    misses="throng_edge_cache_misses_total",
                    waited="throng_edge_single_flight_waits_total",
                ),
                _levels("Cache size", "Bytes of messages that are cached.", "bytes", bytes="throng_edge_cache_bytes"),
                Panel(
                    "Calls to other services",
                    "By method and code, per second.",
                    "reqps",
                    (Query(_one.rate("throng_edge_upstream_calls_total", "method", "code"), "{{method}} {{code}}"),),
                ),
                _levels(
                    "Under way",
                    "Calls, events and submissions that wait; each is bounded (I8).",
                    calls="throng_edge_upstream_calls_under_way",
                    events="throng_edge_waiting_events",
                    uplink="throng_edge_uplink_records",
                    answers="throng_edge_answers_waiting",
                ),
            ),
        ),
        _process(),
    ),
)

GROUP = Board(
    uid="throng-group",
    title="Throng: group service",
    description="Reading the uplink, checks, commits, blocks.",
    instances="throng_group_uplink_lag_records",
    rows=(
        (
            "In and out",
            (
                _by_label(
                    "Submissions answered",
                    "Stored, repeated, or refused with a code (hop 4).",
                    "throng_group_submissions_total",
                    "outcome",
                ),
                _rates(
                    "Blocks",
                    "Blocks, and messages in them (hop 5).",
                    blocks="throng_group_blocks_total",
                    messages="throng_group_block_messages_total",
                ),
                _levels("Uplink lag", "Records that were not read yet (hop 3).", records="throng_group_uplink_lag_records"),
            ),
        ),
        (
            "Commits (hop 4)",
            (
                Panel(
                    "Commit",
                    "Time of one commit that succeeded.",
                    "s",
                    _one.quantiles("throng_group_persist_seconds"),
                    amber=0.1,
                    red=0.5,
                ),
                Panel(
                    "Messages per commit", "Candidates per commit.", "short", _one.quantiles("throng_group_persist_batch_messages")
                ),
                Panel(
                    "Wait in a lane",
                    "From reading a record to its check (hop 3).",
                    "s",
                    _one.quantiles("throng_group_lane_wait_seconds"),
                    amber=0.25,
                    red=1.0,
                ),
            ),
        ),
        (
            "Queues and reads",
            (
                Panel(
                    "Queues",
                    "Items that wait, by queue; each is bounded (I8).",
                    "short",
                    (Query(_one.total("throng_group_queue_depth_items", "queue"), "{{queue}}"),),
                ),
                _by_label("No room", "Items for which a queue had no room.", "throng_group_queue_overflows_total", "queue"),
                _by_label("Cache of recent messages", "Reads by result (hop 8).", "throng_group_recent_reads_total", "result"),
            ),
        ),
        (
            "Hot groups and safety",
            (
                _levels(
                    "Groups",
                    "Hot groups, and groups of which something waits for the writer (hop 4); the log names those that become hot.",
                    hot="throng_group_hot_groups",
                    waiting="throng_group_commit_groups",
                ),
                _levels(
                    "Hottest group",
                    "Submissions per second of the hottest group; 0 while none is hot.",
                    hottest="throng_group_hottest_group_submissions_per_second",
                ),
                Panel(
                    "Safety hook",
                    "Time of one call; it holds up its user alone (hop 3).",
                    "s",
                    _one.quantiles("throng_group_safety_hook_seconds"),
                    amber=0.1,
                    red=0.4,
                ),
                _by_label("Verdicts of the hook", "Undecided: none in time.", "throng_group_safety_hook_verdicts_total", "verdict"),
                _levels("Words", "Words in the list that is in force.", words="throng_group_word_list_words"),
            ),
        ),
        _rpc("group"),
        _process(),
    ),
)

ROUTER = Board(
    uid="throng-router",
    title="Throng: router",
    description="Which edges live, what is routed to them, and whether the table follows the registry.",
    instances="throng_router_edges_alive",
    rows=(
        (
            "Edges and routes",
            (
                _levels(
                    "Edges",
                    "Edges alive, Deliver streams to them, streams of their reports; over all routers.",
                    alive="throng_router_edges_alive",
                    links="throng_router_deliver_links_up",
                    reports="throng_router_report_streams",
                ),
                Panel(
                    "Table in step",
                    "1 while a router's table follows the registry.",
                    "short",
                    (Query(_one.lowest("throng_router_table_in_step", "instance"), "{{instance}}"),),
                    amber=1,
                    red=1,
                    below=True,
                ),
                _by_label("Look-ups", "Look-ups of a group's routes, by source.", "throng_router_route_lookups_total", "source"),
            ),
        ),
        (
            "Publications (hops 5 and 6)",
            (
                _by_label("Publications", "By outcome.", "throng_router_publications_total", "outcome"),
                _rates(
                    "Deliveries",
                    "Events queued for edges, events and messages written to them.",
                    queued="throng_router_deliveries_total",
                    events="throng_router_delivered_events_total",
                    messages="throng_router_delivered_batches_total",
                ),
                Panel(
                    "Publish to queued",
                    "Time in the router.",
                    "s",
                    _one.quantiles("throng_router_publish_to_queued_seconds"),
                    amber=0.05,
                    red=0.25,
                ),
                _levels(
                    "Queues of edges",
                    "Events that wait in all queues, and in the longest.",
                    all="throng_router_deliver_queue_events",
                    longest="throng_router_deliver_queue_events_max",
                ),
                _by_label(
                    "No room",
                    "Events for which a queue had no room, by what was done.",
                    "throng_router_deliver_queue_overflows_total",
                    "action",
                ),
                _by_label(
                    "Links broken", "Deliver streams that ended, by reason.", "throng_router_deliver_link_breaks_total", "reason"
                ),
            ),
        ),
        (
            "Registry",
            (
                Panel(
                    "Report to applied",
                    "From an edge's report to its standing in the registry.",
                    "s",
                    _one.quantiles("throng_router_report_to_applied_seconds"),
                    amber=0.1,
                    red=0.5,
                ),
                _by_label("Assignments", "AssignEdge calls by outcome.", "throng_router_assignments_total", "outcome"),
                _by_label("Edges dropped", "By reason.", "throng_router_edges_dropped_total", "reason"),
            ),
        ),
        _rpc("router"),
        _process(),
    ),
)

UNREAD = Board(
    uid="throng-unread",
    title="Throng: unread service",
    description="Read cursors, counts, windows.",
    instances="throng_unread_observe_streams",
    rows=(
        (
            "Counts (hop 8)",
            (
                _by_label("Counts answered", "By source.", "throng_unread_counts_total", "source"),
                Panel(
                    "Time to answer",
                    "A request for counts.",
                    "s",
                    _one.quantiles("throng_unread_count_seconds"),
                    amber=0.05,
                    red=0.25,
                ),
                _by_label("Windows rebuilt", "By reason; each reads the store.", "throng_unread_window_rebuilds_total", "reason"),
            ),
        ),
        (
            "Cursors and observations",
            (
                _by_label("Cursors", "Reported read cursors by outcome.", "throng_unread_cursors_total", "outcome"),
                Panel(
                    "Time to store",
                    "A report of cursors.",
                    "s",
                    _one.quantiles("throng_unread_cursor_store_seconds"),
                    amber=0.1,
                    red=0.5,
                ),
                _by_label("Observations", "By what became of them (hop 5b).", "throng_unread_observations_total", "outcome"),
            ),
        ),
        _rpc("unread"),
        _process(),
    ),
)
