"""Settings of the edge: what contradicts is named in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from edge.settings import EdgeSettings
from throng.runtime.settings import SettingsError, load


def read(**flags: Any) -> EdgeSettings:
    return load(EdgeSettings, flags={"jwt_secret_file": "key", **flags}, environment={})


def refuse(**flags: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        read(**flags)
    return str(caught.value)


def test_defaults_need_nothing_but_a_key() -> None:
    settings = read()
    assert settings.max_connections_per_user == 20
    assert settings.max_frame_bytes == 65_536
    assert settings.allowed_origins == ()


def test_lists_are_separated_by_commas() -> None:
    settings = read(group_addresses="a:1, b:2", allowed_origins="https://A.example,http://b.example:81")
    assert settings.group_addresses == ("a:1", "b:2")
    assert settings.allowed_origins == ("https://a.example", "http://b.example:81")


def test_the_environment_is_read() -> None:
    settings = load(EdgeSettings, environment={"THRONG_EDGE_JWT_SECRET_FILE": "key", "THRONG_EDGE_ROUTER_ADDRESSES": "r1:7,r2:7"})
    assert settings.router_addresses == ("r1:7", "r2:7")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"jwt_secret_file": None}, "exactly one of jwt_secret_file and jwt_public_key_file"),
        ({"jwt_public_key_file": "other"}, "exactly one of jwt_secret_file and jwt_public_key_file"),
        ({"jwt_secret_file": None, "jwt_public_key_file": "k", "dev_login": True}, "dev_login needs jwt_secret_file"),
        ({"reconnect_base_ms": 5_000, "reconnect_max_ms": 1_000}, "reconnect_base_ms must not be above reconnect_max_ms"),
        ({"internal_host": "0.0.0.0"}, "internal_address must be set"),
        ({"group_addresses": ""}, "edge.group_addresses is wrong: at least one host:port"),
        ({"router_addresses": "nowhere"}, "edge.router_addresses is wrong: 'nowhere' is not host:port"),
        ({"public_url": "https://chat.example"}, "edge.public_url is wrong: it must begin with ws:// or wss://"),
        ({"allowed_origins": "chat.example"}, "edge.allowed_origins is wrong: 'chat.example' is not an origin"),
        ({"edge_id": "a b"}, "edge.edge_id is wrong"),
        ({"default_groups": "a b"}, "edge.default_groups is wrong"),
        ({"port": 70_000}, "edge.port is wrong"),
        ({"uplink": "carrier pigeon"}, "edge.uplink is wrong"),
    ],
)
def test_what_is_wrong_is_named_in_a_sentence(flags: dict[str, Any], said: str) -> None:
    text = refuse(**flags)
    assert said in text
    assert text.endswith(".")
    assert "\n" not in text


def test_every_setting_is_described() -> None:
    assert all(field.description for field in EdgeSettings.model_fields.values())
