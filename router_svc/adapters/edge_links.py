"""`EdgeDelivery` over gRPC: one link per edge that is alive (hop 6)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from router_svc.adapters.edge_link import EdgeLink, LinkPolicy
from router_svc.metrics import RouterMetrics
from router_svc.ports import EdgeInfo, Outgoing
from throng.domain.ids import EdgeId, GroupId
from throng.ports.clock import Clock
from throng.runtime.rpc_security import PLAIN, RpcSecurity


class EdgeLinks:
    """See the port; make and use it inside the loop."""

    def __init__(self, policy: LinkPolicy, clock: Clock, metrics: RouterMetrics, *, security: RpcSecurity = PLAIN) -> None:
        self._policy = policy
        self._security = security
        self._clock = clock
        self._metrics = metrics
        self._links: dict[EdgeId, EdgeLink] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    def ensure(self, info: EdgeInfo) -> None:
        """See the port."""
        held = self._links.get(info.edge_id)
        same = held is not None and (held.info.incarnation, held.info.address) == (info.incarnation, info.address)
        if same or self._closed:
            return
        self.drop(info.edge_id)
        self._links[info.edge_id] = EdgeLink(info, self._policy, self._clock, self._metrics, security=self._security)

    def drop(self, edge_id: EdgeId) -> None:
        """See the port."""
        link = self._links.pop(edge_id, None)
        if link is not None:
            task = asyncio.create_task(link.close(), name=f"router-link-close-{edge_id}")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def deliver(self, edge_id: EdgeId, incarnation: int, item: Outgoing) -> bool:
        """See the port."""
        link = self._links.get(edge_id)
        if link is None or (incarnation and link.info.incarnation != incarnation):
            return False
        link.push(item)
        return True

    def tell_online(self, edge_id: EdgeId, incarnation: int, counts: Mapping[GroupId, int]) -> bool:
        """See the port."""
        link = self._links.get(edge_id)
        return link is not None and link.info.incarnation == incarnation and link.tell_online(counts)

    def is_failing(self, edge_id: EdgeId) -> bool:
        """See the port."""
        link = self._links.get(edge_id)
        return link is not None and link.failing

    def measure(self) -> None:
        """Sets the gauges of links and queues."""
        links = list(self._links.values())
        self._metrics.links_up.set(sum(link.connected for link in links))
        self._metrics.queue_events.set(sum(len(link.queue) for link in links))
        self._metrics.queue_events_max.set(max((len(link.queue) for link in links), default=0))
        self._metrics.queue_bytes.set(sum(link.queue.size_bytes for link in links))

    async def close(self, drain_seconds: float) -> None:
        """Lets queues run empty, at most so long, then ends all streams. Idempotent."""
        self._closed = True
        await asyncio.gather(*(link.flush(drain_seconds) for link in self._links.values() if link.connected))
        for edge_id in list(self._links):
            self.drop(edge_id)
        await asyncio.gather(*self._closing, return_exceptions=True)
