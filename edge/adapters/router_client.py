"""Asks a router for an edge with room (`/v1/assign`). Called in the hub's loop, at work in the business loop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Sequence

import grpc
import grpc.aio

from edge.http.services import AssignedEdge
from throng.api.router.v1 import router_pb2, router_pb2_grpc
from throng.domain.errors import unavailable
from throng.runtime.rpc_status import from_rpc_error

_TIMEOUT_SECONDS = 1.5
_MAX_UNDER_WAY = 1_000
_NEXT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class RouterClient:
    """RouterService.AssignEdge; bounded by the calls under way, above which it fails with UNAVAILABLE.

    Each call begins at another router; one that does not answer is passed over for the next.
    """

    def __init__(self, channels: Sequence[grpc.aio.Channel], business_loop: asyncio.AbstractEventLoop) -> None:
        """`channels`: one per router address."""
        self._channels = channels
        self._turn = random.randrange(len(channels))
        self._loop = business_loop
        self._under_way = 0

    async def assign(self, user_id: str, avoided: tuple[str, ...]) -> AssignedEdge:
        """Chooses an edge for a client. Hub loop.

        Raises:
            ThrongError: UNAVAILABLE when no router answers in time or there is no edge.
        """
        if self._under_way >= _MAX_UNDER_WAY:
            raise unavailable("too many clients ask at once")
        self._under_way += 1
        try:
            answer: Awaitable[AssignedEdge] = asyncio.wrap_future(
                asyncio.run_coroutine_threadsafe(self._ask(user_id, avoided), self._loop)
            )
            return await answer
        finally:
            self._under_way -= 1

    async def _ask(self, user_id: str, avoided: tuple[str, ...]) -> AssignedEdge:
        request = router_pb2.AssignEdgeRequest(user_id=user_id, avoid_edge_ids=avoided)
        self._turn += 1
        failure = unavailable("no router answers")
        for step in range(len(self._channels)):
            channel = self._channels[(self._turn + step) % len(self._channels)]
            try:
                response = await router_pb2_grpc.RouterServiceStub(channel).AssignEdge(request, timeout=_TIMEOUT_SECONDS)
            except grpc.RpcError as error:
                failure = from_rpc_error(error)
                if error.code() not in _NEXT:
                    break
            else:
                return AssignedEdge(response.edge_id, response.public_url)
        raise failure
