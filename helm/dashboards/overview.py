"""What people notice: messages, who is there, refusals; and the path of a message, hop by hop."""

from __future__ import annotations

from panels import Board, Metrics, Panel, Query
from shared import HUB_LATE, SHRUNK

_all = Metrics()
_SERVER_FAULTS = 'outcome=~"unavailable|deadline_exceeded|internal"'
_ENDED = 'outcome!="submitted"'
_NO_REFUSAL = 'outcome!~"submitted|acked"'

BUSINESS = Board(
    uid="throng-business",
    title="Throng: business",
    description="Messages, people online, groups, and why messages were refused.",
    rows=(
        (
            "Now",
            (
                Panel(
                    "Messages stored",
                    "Messages that were given a number and committed, per second (hop 4).",
                    "reqps",
                    (Query(_all.rate("throng_group_submissions_total", match='outcome="stored"')),),
                    kind="stat",
                    width=4,
                ),
                Panel(
                    "Online",
                    "Connections of clients on all edges.",
                    "short",
                    (Query(_all.total("throng_edge_connections")),),
                    kind="stat",
                    width=4,
                ),
                Panel(
                    "ACK, 99th percentile",
                    "From taking a submission in to its ACK, slower than which one of a hundred is (hops 1 to 7).",
                    "s",
                    (Query(_all.quantile(0.99, "throng_edge_submit_to_ack_seconds")),),
                    amber=0.5,
                    red=1.0,
                    kind="stat",
                    width=4,
                ),
                Panel(
                    "Slowest edge's delivery",
                    "From publishing a block to its last send, 99th percentile, on the edge that is slowest (hops 5 to 7).",
                    "s",
                    (Query(f"max({_all.quantile(0.99, 'throng_edge_publish_to_last_send_seconds', 'instance')})"),),
                    amber=1.0,
                    red=1.5,
                    kind="stat",
                    width=4,
                ),
                Panel(
                    "Refused for our reasons",
                    "Share of submissions refused though nothing was wrong with them: unavailable, no answer in time, defect.",
                    "percentunit",
                    (
                        Query(
                            f"({_all.rate('throng_edge_submissions_total', match=_SERVER_FAULTS)} or vector(0)) / "
                            f"{_all.rate('throng_edge_submissions_total', match=_ENDED)}"
                        ),
                    ),
                    amber=0.001,
                    red=0.01,
                    kind="stat",
                    width=4,
                ),
                Panel(
                    "Edges",
                    "Edges that the routers take for alive.",
                    "short",
                    (Query(_all.highest("throng_router_edges_alive")),),
                    amber=2,
                    red=1,
                    below=True,
                    kind="stat",
                    width=4,
                ),
            ),
        ),
        (
            "Messages",
            (
                Panel(
                    "Submitted, ACKed, refused",
                    "What clients asked for and what became of it, per second (hop 1).",
                    "reqps",
                    (
                        Query(_all.rate("throng_edge_received_frames_total"), "frames of clients"),
                        Query(_all.rate("throng_edge_submissions_total", match='outcome="submitted"'), "submitted"),
                        Query(_all.rate("throng_edge_submissions_total", match='outcome="acked"'), "ACKed"),
                        Query(f"{_all.rate('throng_edge_submissions_total', match=_NO_REFUSAL)} or vector(0)", "refused"),
                    ),
                    width=12,
                ),
                Panel(
                    "Refusals by reason",
                    "Error codes that senders were given, per second (docs/protocol.md).",
                    "reqps",
                    (Query(_all.rate("throng_edge_submissions_total", "outcome", match=_NO_REFUSAL), "{{outcome}}"),),
                    width=12,
                    stack=True,
                ),
                Panel(
                    "Deliveries",
                    "Sends to clients per second: one carries all that waited for a group (hop 7).",
                    "reqps",
                    (
                        Query(_all.rate("throng_edge_fan_out_sends_total"), "fan-out"),
                        Query(_all.rate("throng_edge_sends_total"), "all"),
                    ),
                ),
                Panel(
                    "Messages per block",
                    "How much is joined while groups are busy (hop 5).",
                    "short",
                    (
                        Query(
                            f"{_all.rate('throng_group_block_messages_total')} / {_all.rate('throng_group_blocks_total')}",
                            "messages per block",
                        ),
                    ),
                ),
                Panel(
                    "Bytes to clients",
                    "What the kernel took for clients, per second; beside it what came from them.",
                    "Bps",
                    (
                        Query(_all.rate("throng_edge_sent_bytes_total"), "out"),
                        Query(_all.rate("throng_edge_received_bytes_total"), "in"),
                    ),
                ),
            ),
        ),
        (
            "People",
            (
                Panel(
                    "Online by edge",
                    "Connections of each edge.",
                    "short",
                    (Query(_all.total("throng_edge_connections", "instance"), "{{instance}}"),),
                    stack=True,
                ),
                Panel(
                    "Coming and going",
                    "Connections that began and ended, per second.",
                    "reqps",
                    (
                        Query(_all.rate("throng_edge_accepted_connections_total"), "came"),
                        Query(f"{_all.rate('throng_edge_closes_total')} or vector(0)", "left"),
                    ),
                ),
                Panel(
                    "Groups held, by size",
                    "Groups that edges hold, by their connections on one edge.",
                    "short",
                    (Query(_all.total("throng_edge_rooms", "size"), "{{size}}"),),
                    stack=True,
                ),
                Panel(
                    "Biggest groups",
                    "People online in the ten biggest groups, as the routers count them.",
                    "short",
                    (Query(f"topk(10, {_all.highest('throng_router_biggest_group_online', 'group_id')})", "{{group_id}}"),),
                    kind="bargauge",
                ),
                Panel(
                    "Unread counts",
                    "Counts answered by source; a rebuilt window costs a read of the store (hop 8).",
                    "reqps",
                    (Query(_all.rate("throng_unread_counts_total", "source"), "{{source}}"),),
                ),
                Panel(
                    "Why connections ended",
                    "By close code (docs/protocol.md), per second.",
                    "reqps",
                    (Query(_all.rate("throng_edge_closes_total", "reason"), "{{reason}}"),),
                    stack=True,
                ),
            ),
        ),
    ),
)


def _hop(title: str, description: str, metric: str, *, amber: float, red: float) -> Panel:
    return Panel(title, description, "s", _all.quantiles(metric), amber=amber, red=red)


PATH = Board(
    uid="throng-path",
    title="Throng: path of a message",
    description="Where a message spends its time, hop by hop (docs/architecture.md), and the slowest receiver.",
    rows=(
        (
            "From end to end",
            (
                _hop(
                    "Submit to ACK",
                    "What a sender waits for (hops 1 to 7).",
                    "throng_edge_submit_to_ack_seconds",
                    amber=0.5,
                    red=1.0,
                ),
                Panel(
                    "Publish to last send, by edge",
                    "99th percentile per edge; the highest line is the slowest receiver's edge (hops 5 to 7).",
                    "s",
                    (Query(_all.quantile(0.99, "throng_edge_publish_to_last_send_seconds", "instance"), "{{instance}}"),),
                    amber=1.0,
                    red=1.5,
                ),
                HUB_LATE,
            ),
        ),
        (
            "Hops 1 and 2: client, edge, uplink",
            (
                Panel(
                    "Waiting for an answer",
                    "Submissions without an answer, and those on their way to the uplink.",
                    "short",
                    (
                        Query(_all.total("throng_edge_answers_waiting"), "answers"),
                        Query(_all.total("throng_edge_uplink_records"), "uplink"),
                    ),
                ),
                Panel(
                    "Uplink lag",
                    "Records that no group service has read yet (hop 3).",
                    "short",
                    (Query(_all.total("throng_group_uplink_lag_records", "instance"), "{{instance}}"),),
                    amber=5_000,
                    red=20_000,
                ),
                _hop(
                    "Wait in a lane",
                    "From reading a record to its check (hop 3), where it had to wait for one; empty while checks go at once.",
                    "throng_group_lane_wait_seconds",
                    amber=0.25,
                    red=1.0,
                ),
            ),
        ),
        (
            "Hops 3 and 4: check, number, persist",
            (
                _hop("Commit", "Time of one commit that succeeded (hop 4).", "throng_group_persist_seconds", amber=0.1, red=0.5),
                Panel(
                    "Messages per commit",
                    "Fuller batches cost less per message (hop 4).",
                    "short",
                    _all.quantiles("throng_group_persist_batch_messages"),
                ),
                Panel(
                    "Queues of group services",
                    "Items that wait, by queue; each is bounded (I8).",
                    "short",
                    (Query(_all.highest("throng_group_queue_depth_items", "queue"), "{{queue}}"),),
                ),
            ),
        ),
        (
            "Hops 5 and 6: publish, route, deliver",
            (
                _hop(
                    "Publish to queued",
                    "From a router's receipt of a batch to its standing in the queues of all edges.",
                    "throng_router_publish_to_queued_seconds",
                    amber=0.05,
                    red=0.25,
                ),
                Panel(
                    "Longest queue of an edge",
                    "Events that wait in a router for one edge (hop 6).",
                    "short",
                    (Query(_all.highest("throng_router_deliver_queue_events_max", "instance"), "{{instance}}"),),
                    amber=1_000,
                    red=5_000,
                ),
                SHRUNK,
            ),
        ),
        (
            "Hop 8: pull and read",
            (
                Panel(
                    "Pulls",
                    "Pulls of clients, and reads of an edge by where they were answered, per second.",
                    "reqps",
                    (
                        Query(_all.rate("throng_edge_pulls_total"), "pulls"),
                        Query(_all.rate("throng_edge_cache_hits_total"), "from the cache"),
                        Query(_all.rate("throng_edge_cache_misses_total"), "from group services"),
                        Query(_all.rate("throng_edge_single_flight_waits_total"), "waited for another's read"),
                    ),
                ),
                Panel(
                    "Calls behind the edge",
                    "99th percentile by method.",
                    "s",
                    (Query(_all.quantile(0.99, "throng_edge_upstream_call_seconds", "method"), "{{method}}"),),
                    amber=0.25,
                    red=1.0,
                ),
                Panel(
                    "Healed",
                    "Groups that were behind their head and were brought up to it, and attempts that failed (I6), per second.",
                    "reqps",
                    (
                        Query(_all.rate("throng_edge_gaps_total"), "gaps seen"),
                        Query(_all.rate("throng_edge_heals_total"), "healed"),
                        Query(_all.rate("throng_edge_heal_failures_total"), "failed"),
                    ),
                ),
            ),
        ),
    ),
)
