"""What a run does: every option of `throng bench`, checked."""

from __future__ import annotations

import enum
import ipaddress
import pathlib
from dataclasses import dataclass
from urllib.parse import urlsplit

from throng.bench.pages import MIN_TEXT_BYTES
from throng.bench.scenarios import Scenario
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.ids import check_identifier
from throng.domain.limits import MAX_BLOCK_INTERVAL_MS, MAX_BLOCK_MESSAGES, MAX_BUDGET_PER_SECOND, MAX_TEXT_CHARACTERS

MAX_MESSAGES = 2_000_000
"""Messages of one run; the judge remembers every one."""

MAX_CLIENTS = 200_000
MAX_SECONDS = 86_400.0


class DeliveryMode(enum.StrEnum):
    """How receivers are told of messages."""

    INLINE = "inline"
    NOTIFY = "notify"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """One run.

    Attributes:
        urls: edges, such as ws://127.0.0.1:8080; clients are spread over them and go to the next one when they reconnect.
        group_address: gRPC addresses of group services, `host:port` separated by commas: makes groups and tells the history.
        jwt_secret_file: file with the HS256 secret that edges accept.
        group_ids: groups that exist; empty: `groups` new ones are made.
        groups, receivers, senders: how many in all; clients are dealt out to the groups in turn.
        rate: messages per second in all.
        seconds: how long is sent.
        text_bytes: size of a text; at least 120, for every text says whose it is.
        delivery: how receivers are told.
        workers: processes; 0: one per 2,500 clients, at most the number of cores.
        ramp: connections opened per second in all.
        connect_seconds: time for all clients to enter; 0: 30 s and what the ramp takes.
        settle_seconds: time after the sending until every message is answered and every receiver is at the head.
        audit_seconds: time for reading the history.
        max_attempts: how often a refused message is sent on one connection before it is given up.
        block_max_messages, block_interval_ms: of groups that are made; None: the service's default.
        catch_up_limit_seconds: a receiver that took longer to hold what it had missed is a fault (I6); 0: only measured.
        allow_remote: addresses other than this machine's loopback may be named.
        seed: of ids of users and of jitter; None: a random one.
        scenario: whose demands are judged besides.
        rate_steps: factors of the rate, each for an equal part of the sending; empty: the rate stays.
        budget_per_second: of new groups, messages per second; 0: no limit.
        churn_per_second: receivers that leave per second, in all, and come back 0.2 to 1.5 s later.
        cut_share: share of all clients whose sockets are cut at once in the middle of the sending.
        slow_share, stall_seconds: share of receivers that stops reading after a quarter of the sending, and for how long.
        repeat_seconds: cuts and stalls come again with this period; 0: once.
        server_pids: processes of the server on this machine whose memory and CPU are told, with their descendants.
    """

    urls: tuple[str, ...]
    group_address: str
    jwt_secret_file: pathlib.Path
    group_ids: tuple[str, ...] = ()
    groups: int = 1
    receivers: int = 100
    senders: int = 10
    rate: float = 50.0
    seconds: float = 10.0
    text_bytes: int = 200
    delivery: DeliveryMode = DeliveryMode.INLINE
    workers: int = 0
    ramp: float = 1_000.0
    connect_seconds: float = 0.0
    settle_seconds: float = 30.0
    audit_seconds: float = 60.0
    max_attempts: int = 4
    block_max_messages: int | None = None
    block_interval_ms: int | None = None
    catch_up_limit_seconds: float = 0.0
    allow_remote: bool = False
    seed: int | None = None
    scenario: Scenario = Scenario.DELIVERY
    rate_steps: tuple[float, ...] = ()
    budget_per_second: int = 0
    churn_per_second: float = 0.0
    cut_share: float = 0.0
    slow_share: float = 0.0
    stall_seconds: float = 0.0
    repeat_seconds: float = 0.0
    server_pids: tuple[int, ...] = ()

    @property
    def planned_messages(self) -> float:
        """How many are due in all."""
        factors = self.rate_steps or (1.0,)
        return self.rate * self.seconds * sum(factors) / len(factors)

    @property
    def period_seconds(self) -> float:
        """After this cuts and stalls come again."""
        return self.repeat_seconds or self.seconds

    @property
    def group_count(self) -> int:
        """Groups of the run."""
        return len(self.group_ids) or self.groups

    @property
    def connect_limit_seconds(self) -> float:
        """Time for all clients to enter."""
        return self.connect_seconds or 30.0 + 2 * (self.receivers + self.senders) / self.ramp

    def check(self) -> None:
        """Looks whether the plan can be run.

        Raises:
            ThrongError: INVALID_ARGUMENT, with one sentence.
        """
        if not self.urls:
            raise _wrong("name at least one edge")
        for url in self.urls:
            host, _ = host_and_port(url)
            self._check_host(host)
        for address in self.group_address.split(","):
            self._check_host(address.rsplit(":", 1)[0].strip("[] "))
        for group_id in self.group_ids:
            check_identifier(group_id, "group")
        self._check_numbers()

    def _check_host(self, host: str) -> None:
        if not self.allow_remote and not _is_loopback(host):
            raise _wrong(f"{host} is not this machine; a load is sent elsewhere only with --allow-remote")

    def _check_numbers(self) -> None:
        bounds = {
            "groups": (self.groups, 1, 10_000),
            "receivers": (self.receivers, 0, MAX_CLIENTS),
            "senders": (self.senders, 0, MAX_CLIENTS),
            "rate": (self.rate, 0, 1_000_000),
            "seconds": (self.seconds, 0.1, MAX_SECONDS),
            "text bytes": (self.text_bytes, MIN_TEXT_BYTES, MAX_TEXT_CHARACTERS),
            "workers": (self.workers, 0, 256),
            "ramp": (self.ramp, 1, 100_000),
            "connect seconds": (self.connect_seconds, 0, MAX_SECONDS),
            "settle seconds": (self.settle_seconds, 0, MAX_SECONDS),
            "audit seconds": (self.audit_seconds, 1, MAX_SECONDS),
            "attempts": (self.max_attempts, 1, 1_000),
            "block messages": (self.block_max_messages or 0, 0, MAX_BLOCK_MESSAGES),
            "block interval": (self.block_interval_ms or 0, 0, MAX_BLOCK_INTERVAL_MS),
        }
        _check_bounds(bounds)
        self._check_disturbances()
        if self.planned_messages > MAX_MESSAGES:
            raise _wrong(f"a run has at most {MAX_MESSAGES} messages; take a lower rate or fewer seconds")
        if self.receivers + self.senders == 0:
            raise _wrong("there must be a receiver or a sender")

    def _check_disturbances(self) -> None:
        bounds: dict[str, tuple[float, float, float]] = {
            "budget per second": (self.budget_per_second, 0, MAX_BUDGET_PER_SECOND),
            "churn per second": (self.churn_per_second, 0, 10_000),
            "cut share": (self.cut_share, 0, 1),
            "slow share": (self.slow_share, 0, 1),
            "stall seconds": (self.stall_seconds, 0, MAX_SECONDS),
            "repeat seconds": (self.repeat_seconds, 0, MAX_SECONDS),
        }
        bounds |= {f"rate step {number}": (factor, 0, 1_000_000) for number, factor in enumerate(self.rate_steps, 1)}
        _check_bounds(bounds)
        if self.period_seconds > self.seconds:
            raise _wrong("what is repeated must fit into the seconds of sending")
        if self.slow_share and self.stall_seconds >= 0.75 * self.period_seconds:
            raise _wrong("readers stop after a quarter of the sending, and must read again before it ends: shorten the stall")


def _check_bounds(bounds: dict[str, tuple[float, float, float]]) -> None:
    for name, (value, least, most) in bounds.items():
        if not least <= value <= most:
            raise _wrong(f"{name} must be {least:g} to {most:g}, not {value:g}")


def host_and_port(url: str) -> tuple[str, int]:
    """Host and port of an edge's address; ws and http mean the same.

    Raises:
        ThrongError: INVALID_ARGUMENT.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise _wrong(f"{url} has no port from 1 to 65535") from error
    if parts.scheme not in ("ws", "http", "wss", "https") or not parts.hostname:
        raise _wrong(f"{url} is no address of an edge such as ws://127.0.0.1:8080")
    return parts.hostname, port or (443 if parts.scheme in ("wss", "https") else 80)


def is_tls(url: str) -> bool:
    """The edge is spoken to through TLS."""
    return urlsplit(url).scheme in ("wss", "https")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _wrong(text: str) -> ThrongError:
    return ThrongError(ErrorCode.INVALID_ARGUMENT, text)
