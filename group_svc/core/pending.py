"""One record of the uplink between its check and its commit (hops 3 and 4)."""

from __future__ import annotations

from group_svc.ports import Candidate
from throng.domain.group import GroupSettings
from throng.domain.quick_values import quick_value


@quick_value(frozen=True, slots=True)
class Pending:
    """A candidate with what must be done once it is committed.

    Attributes:
        settings: of the group, as the check saw them.
        partition, place: where it stands in the uplink, as in `UplinkRecord`.
        charged: the check used up interval and budget for it; given back when it is not stored.
    """

    candidate: Candidate
    settings: GroupSettings
    partition: int
    place: int
    charged: bool = False
