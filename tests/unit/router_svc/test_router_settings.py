"""Settings of router_svc: defaults, the environment, and sentences for what is wrong."""

from __future__ import annotations

import pytest

from router_svc.settings import RouterSettings
from throng.runtime.settings import SettingsError, load


def test_defaults_stand_and_every_setting_is_described() -> None:
    settings = load(RouterSettings, environment={})
    assert settings.ttl_seconds == 9.0
    assert all(field.description for field in RouterSettings.model_fields.values())


def test_the_environment_counts() -> None:
    assert load(RouterSettings, environment={"THRONG_ROUTER_HEARTBEAT_SECONDS": "2"}).ttl_seconds == 6.0


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"THRONG_ROUTER_REDIS_URL": "http://x"}, "router.redis_url"),
        ({"THRONG_ROUTER_PORT": "70000"}, "router.port"),
        ({"THRONG_ROUTER_NOTHING": "1"}, "THRONG_ROUTER_NOTHING does not exist"),
        ({"THRONG_ROUTER_HEARTBEAT_SECONDS": "0.5"}, "channel_tick_seconds must not be above heartbeat_seconds"),
    ],
)
def test_what_is_wrong_is_named(environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        load(RouterSettings, environment=environment)
