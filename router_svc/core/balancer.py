"""Smooth weighted round robin over edges, as nginx does it: in proportion to the weights, and never in bursts."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from throng.domain.ids import EdgeId


class SmoothBalancer:
    """Keeps one running number per edge; the loop's thread only.

    At each choice every candidate gains its weight, the highest is chosen and pays the sum of all weights. An edge that
    appears starts at 0, so that it is not flooded.
    """

    def __init__(self) -> None:
        self._current: dict[EdgeId, int] = {}

    def choose(self, weights: Mapping[EdgeId, int], *, avoid: Collection[EdgeId] = ()) -> EdgeId | None:
        """Returns an edge of a weight above 0, outside `avoid` if there is one; None when no edge has a weight."""
        for edge_id in self._current.keys() - weights.keys():
            del self._current[edge_id]
        usable = [edge_id for edge_id in sorted(weights) if weights[edge_id] > 0]
        candidates = [edge_id for edge_id in usable if edge_id not in avoid] or usable
        best: EdgeId | None = None
        total = 0
        for edge_id in candidates:
            total += weights[edge_id]
            gained = self._current.get(edge_id, 0) + weights[edge_id]
            self._current[edge_id] = gained
            if best is None or gained > self._current[best]:
                best = edge_id
        if best is not None:
            self._current[best] -= total
        return best
