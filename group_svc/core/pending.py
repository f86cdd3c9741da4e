"""One record of the uplink between its check and its commit (hops 3 and 4)."""

from __future__ import annotations

from dataclasses import dataclass

from group_svc.ports import Candidate
from throng.domain.group import GroupSettings


@dataclass(frozen=True, slots=True)
class Pending:
    """A candidate with what must be done once it is committed.

    Attributes:
        settings: of the group, as the check saw them.
        partition, offset: its place in the uplink.
        charged: the check used up interval and budget for it; given back when it is not stored.
    """

    candidate: Candidate
    settings: GroupSettings
    partition: int
    offset: int
    charged: bool = False
