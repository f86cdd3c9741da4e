"""Whether this edge takes new clients: routes have stood in the registry, group_svc answers, and it does not drain."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Readiness:
    """Written by the app from either thread (plain flags), read by the handlers.

    Attributes:
        routes_applied: a router has applied our routes once. It stays true when all routers are away later: heads are still
            compared every 2 s, so that chat goes on slower, while an edge that is not ready would end it.
        upstream_reachable: group_svc answered lately.
        draining: this edge empties itself.
    """

    routes_applied: bool = False
    upstream_reachable: bool = False
    draining: bool = False

    @property
    def ready(self) -> bool:
        """Takes new clients."""
        return self.routes_applied and self.upstream_reachable and not self.draining

    @property
    def admits(self) -> bool:
        """Lets a client in that comes all the same: reading goes on from caches while group_svc is away."""
        return self.routes_applied and not self.draining

    def report(self) -> dict[str, bool]:
        """For `/readyz`."""
        return {
            "ready": self.ready,
            "routes_applied": self.routes_applied,
            "upstream_reachable": self.upstream_reachable,
            "draining": self.draining,
        }
