"""Metrics of group_svc: hops 3 to 5b. One class, children made up front, on a registry that is passed in."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from group_svc.ports import SafetyVerdict
from throng.domain.errors import ErrorCode
from throng.runtime.kafka_metrics import KafkaMetrics
from throng.runtime.mysql_metrics import MySQLMetrics
from throng.runtime.redis_metrics import RedisMetrics

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1, 2, 5, 10, 25, 50, 100, 200, 300, 400, 500)
QUEUES = ("lane", "safety", "commit", "publish", "publish_urgent", "observe", "forward")


class GroupMetrics:
    """What group_svc counts. Any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        submissions = Counter(
            "throng_group_submissions_total",
            "Submissions answered (hop 4): stored, repeated, or the code of the refusal.",
            ["outcome"],
            registry=registry,
        )
        self.stored = submissions.labels("stored")
        self.repeated = submissions.labels("repeated")
        self._refused = {code: submissions.labels(code.name.lower()) for code in ErrorCode}
        self.poison_records = Counter(
            "throng_group_poison_records_total",
            "Uplink records that are no submission and were passed over (hop 3).",
            registry=registry,
        )
        self._lag = Gauge(
            "throng_group_uplink_lag_records", "Records in the uplink that were not read yet (hop 3).", registry=registry
        )
        self.lane_wait_seconds = Histogram(
            "throng_group_lane_wait_seconds",
            "Time a record waited in its lane (hop 3).",
            buckets=_SECONDS,
            registry=registry,
        )
        self.persist_batch_messages = Histogram(
            "throng_group_persist_batch_messages", "Candidates per commit (hop 4).", buckets=_SIZES, registry=registry
        )
        self.persist_seconds = Histogram(
            "throng_group_persist_seconds", "Time of one commit that succeeded (hop 4).", buckets=_SECONDS, registry=registry
        )
        self.persist_retries = Counter(
            "throng_group_persist_retries_total", "Commits repeated because the store was away (hop 4).", registry=registry
        )
        self._depth = Gauge("throng_group_queue_depth_items", "Items that wait, by queue.", ["queue"], registry=registry)
        overflows = Counter(
            "throng_group_queue_overflows_total",
            "Items for which there was no room: blocks become heads, answers and observations are dropped.",
            ["queue"],
            registry=registry,
        )
        self.overflows = {name: overflows.labels(name) for name in QUEUES}
        cache = Counter(
            "throng_group_recent_reads_total",
            "Reads of recent messages and heads: hit, miss, or error of the cache (hop 8).",
            ["result"],
            registry=registry,
        )
        self.recent_hits, self.recent_misses, self.recent_errors = (cache.labels(name) for name in ("hit", "miss", "error"))
        self.recent_put_failures = Counter(
            "throng_group_recent_put_failures_total",
            "Writes to the cache of messages that failed (hop 4).",
            registry=registry,
        )
        self.mysql = MySQLMetrics("group", registry)
        self.kafka = KafkaMetrics("group", registry, consumes=True)
        self.redis = RedisMetrics("group", registry)
        self._make_safety(registry)
        self._make_hot(registry)
        self._make_outward(registry)

    def _make_safety(self, registry: CollectorRegistry) -> None:
        """Metrics of word list and safety hook."""
        reloads = Counter(
            "throng_group_word_list_reloads_total",
            "Times the word list had changed and was loaded, or failed to be and the old one stayed (hop 4).",
            ["result"],
            registry=registry,
        )
        self.word_list_loaded, self.word_list_failed = reloads.labels("loaded"), reloads.labels("failed")
        self.word_list_words = Gauge(
            "throng_group_word_list_words", "Words in the list that is in force (hop 4).", registry=registry
        )
        verdicts = Counter(
            "throng_group_safety_hook_verdicts_total",
            "Answers of the safety hook: allowed, blocked, or undecided: none in time, an error, or it was not asked (hop 3).",
            ["verdict"],
            registry=registry,
        )
        self.safety_hook_verdicts = {verdict: verdicts.labels(verdict.value) for verdict in SafetyVerdict}
        self.safety_hook_seconds = Histogram(
            "throng_group_safety_hook_seconds", "Time of one call of the safety hook (hop 3).", buckets=_SECONDS, registry=registry
        )

    def _make_hot(self, registry: CollectorRegistry) -> None:
        """Metrics of hot groups; none has a label per group: the log names them."""
        self._hot_groups = Gauge(
            "throng_group_hot_groups",
            "Groups with hot_group_per_second submissions a second or more, of those that are written here (hop 4).",
            registry=registry,
        )
        self._hottest = Gauge(
            "throng_group_hottest_group_submissions_per_second",
            "Submissions per second of the hottest group that is written here; 0 while none is hot (hop 4).",
            registry=registry,
        )
        self._waiting_groups = Gauge(
            "throng_group_commit_groups", "Groups of which candidates wait for the writer (hop 4).", registry=registry
        )

    def _make_outward(self, registry: CollectorRegistry) -> None:
        """Metrics of the ways out."""
        self.blocks = Counter("throng_group_blocks_total", "Blocks formed (hop 5).", registry=registry)
        self.block_messages = Counter("throng_group_block_messages_total", "Messages in blocks (hop 5).", registry=registry)
        self.publish_batches = Counter(
            "throng_group_publish_batches_total", "Batches of publications sent to a router (hop 5).", registry=registry
        )
        self.publish_breaks = Counter(
            "throng_group_publish_breaks_total", "Streams to a router that broke or could not be opened (hop 5).", registry=registry
        )
        forwards = Counter(
            "throng_group_answers_forwarded_total",
            "Answers for callers in other group services (hop 5): delivered, or lost, which their callers repeat.",
            ["result"],
            registry=registry,
        )
        self.forwarded, self.forward_lost = forwards.labels("delivered"), forwards.labels("lost")
        self.observe_breaks = Counter(
            "throng_group_observe_breaks_total",
            "Streams to unread_svc that broke or did not open (hop 5b).",
            registry=registry,
        )

    def refused(self, code: ErrorCode) -> None:
        """Counts one refusal."""
        self._refused[code].inc()

    def watch_lag(self, lag: Callable[[], int]) -> None:
        """Reads the uplink's lag whenever metrics are collected."""
        self._lag.set_function(lag)

    def watch_groups(self, hot_rates: Callable[[], list[float]], waiting: Callable[[], int]) -> None:
        """Reads the rates of hot groups, the hottest first, and how many groups wait, whenever metrics are collected."""
        self._hot_groups.set_function(lambda: len(hot_rates()))
        self._hottest.set_function(lambda: next(iter(hot_rates()), 0.0))
        self._waiting_groups.set_function(waiting)

    def watch_queue(self, queue: str, depth: Callable[[], int]) -> None:
        """Reads a queue's depth whenever metrics are collected."""
        self._depth.labels(queue).set_function(depth)
