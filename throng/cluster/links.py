"""The connections between parts, and the fault proxies in those that the plan names."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Sequence

from throng.testing.servers import FaultProxy


class LinkSet:
    """Some proxied links; each call is made on all of them."""

    def __init__(self, proxies: Sequence[FaultProxy]) -> None:
        self.proxies = list(proxies)

    def cut(self) -> None:
        """Resets all connections and refuses new ones until `restore`."""
        for proxy in self.proxies:
            proxy.cut()

    def reset(self) -> None:
        """Resets all connections; new ones are welcome."""
        for proxy in self.proxies:
            proxy.reset()

    def stall(self) -> None:
        """Half-open: nothing passes until `restore`."""
        for proxy in self.proxies:
            proxy.stall()

    def delay(self, seconds: float) -> None:
        """Everything takes so much longer until `restore`."""
        for proxy in self.proxies:
            proxy.delay(seconds)

    def limit(self, bytes_per_second: float) -> None:
        """Each connection is no faster than that until `restore`."""
        for proxy in self.proxies:
            proxy.limit(bytes_per_second)

    def restore(self) -> None:
        """Ends every fault."""
        for proxy in self.proxies:
            proxy.restore()


class Links:
    """Makes proxies as addresses are asked for. A link is named `edge-1->group-2`; backends have no number: `group-1->kafka`.

    Whoever connects to an edge is `client` or `router` as a whole: `client->edge-1`, `router->edge-2`.
    """

    def __init__(self, proxied: Collection[str]) -> None:
        self._proxied = proxied
        self._proxies: dict[str, FaultProxy] = {}

    def address(self, source: str, target: str, real: str) -> str:
        """Where `source` dials `target`, which listens on `real` (host:port): there, or at the proxy in between."""
        if f"{_kind(source)}->{_kind(target)}" not in self._proxied:
            return real
        name = f"{source}->{target}"
        if name not in self._proxies:
            host, _, port = real.rpartition(":")
            self._proxies[name] = FaultProxy((host, int(port))).start()
        return self._proxies[name].address

    @property
    def names(self) -> list[str]:
        """All proxied links."""
        return sorted(self._proxies)

    def matching(self, pattern: str) -> LinkSet:
        """The links that a pattern names: `edge->group` (all of these kinds), `edge-1->group-*`, `*->kafka`.

        Raises:
            KeyError: none is proxied that is called so.
        """
        kinds = {name: "->".join(_kind(end) for end in name.split("->")) for name in self._proxies}
        found = [
            proxy
            for name, proxy in sorted(self._proxies.items())
            if fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(kinds[name], pattern)
        ]
        if not found:
            raise KeyError(f"no proxied link is called {pattern}")
        return LinkSet(found)

    def restore_all(self) -> None:
        """Ends every fault."""
        LinkSet(list(self._proxies.values())).restore()

    def stop(self) -> None:
        """Closes all proxies. Idempotent."""
        while self._proxies:
            self._proxies.popitem()[1].stop()


def _kind(part: str) -> str:
    name, _, number = part.rpartition("-")
    return name if name and number.isdigit() else part
