"""Which gRPC name stands for which addresses; none of several is left out silently."""

from __future__ import annotations

import pytest

from throng.domain.errors import ErrorCode, ThrongError
from throng.runtime.rpc_sync import target


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["10.0.0.1:7001"], "dns:///10.0.0.1:7001"),
        (["group:7001"], "dns:///group:7001"),
        (["dns:///group:7001"], "dns:///group:7001"),
        (["10.0.0.1:7001", "10.0.0.2:7001"], "ipv4:10.0.0.1:7001,10.0.0.2:7001"),
        (["[::1]:7001", "[fd00::2]:7001"], "ipv6:[::1]:7001,[fd00::2]:7001"),
    ],
)
def test_targets(addresses: list[str], expected: str) -> None:
    assert target(addresses) == expected


@pytest.mark.parametrize(
    "addresses",
    [
        ["group-1:7001", "group-2:7001"],
        ["10.0.0.1:7001", "group-2:7001"],
        ["10.0.0.1:7001", "[::1]:7001"],
        ["dns:///group:7001", "dns:///other:7001"],
        ["1.2.3:7001", "10.0.0.1:7001"],
    ],
)
def test_several_names_are_refused_with_the_remedy(addresses: list[str]) -> None:
    with pytest.raises(ThrongError, match="dns:///NAME:PORT") as refused:
        target(addresses)
    assert refused.value.code is ErrorCode.INVALID_ARGUMENT
