"""Settings of a group as the column holds them, across versions, and as the contract brings them."""

from __future__ import annotations

import json

import pytest

from group_svc.adapters.group_codec import merged_settings, to_settings
from group_svc.adapters.sql_rows import decode_settings, encode_settings
from throng.api.common.v1 import group_pb2
from throng.domain.group import Delivery, GroupSettings, OverBudget

ALL = GroupSettings(True, 30_000, 7, 3, 20, Delivery.NOTIFY, OverBudget.SAMPLE)


def test_what_is_written_is_read() -> None:
    assert decode_settings(encode_settings(ALL)) == ALL
    assert merged_settings(GroupSettings(), to_settings(ALL)) == ALL


@pytest.mark.parametrize("field", ["over_budget", "delivery", "send_interval_ms"])
def test_a_field_that_an_older_version_did_not_write_has_its_default(field: str) -> None:
    written = json.loads(encode_settings(ALL))
    del written[field]
    assert getattr(decode_settings(json.dumps(written)), field) == getattr(GroupSettings(), field)


def test_what_a_newer_version_wrote_is_no_obstacle() -> None:
    written = json.loads(encode_settings(ALL)) | {"over_budget": 9, "colour": "blue"}
    assert decode_settings(json.dumps(written)).over_budget is OverBudget.REJECT


def test_a_change_leaves_the_rest_and_unspecified_is_the_default() -> None:
    changes = group_pb2.GroupSettings(over_budget=group_pb2.OVER_BUDGET_UNSPECIFIED, send_interval_ms=0)
    merged = merged_settings(ALL, changes)
    assert (merged.over_budget, merged.send_interval_ms, merged.budget_per_second) == (OverBudget.REJECT, 0, 7)
