"""Quick values: equal and hashed by what they hold, with slots, replaceable; only immutability is left to the type checker."""

from __future__ import annotations

import dataclasses

import pytest

from throng.domain.message import Position
from throng.domain.quick_values import quick_value


def test_a_quick_value_is_a_value():
    one, same, other = Position(1, 2), Position(1, 2), Position(1, 3)
    assert one == same
    assert {one, same, other} == {one, other}
    assert dataclasses.replace(one, seq=3) == other
    assert repr(one) == "Position(epoch=1, seq=2)"
    assert not hasattr(one, "__dict__")


@pytest.mark.parametrize("options", [{"frozen": False, "slots": True}, {"frozen": True, "slots": False}])
def test_nothing_else_is_called_a_quick_value(options):
    with pytest.raises(TypeError):
        quick_value(**options)
