"""Settings of Redis: which addresses there are, and that a password is in a file and nowhere else."""

from __future__ import annotations

import pathlib

import pytest

from group_svc.settings import GroupServiceSettings
from router_svc.settings import RouterSettings
from throng.domain.errors import ThrongError
from throng.runtime.settings import SettingsError, load
from unread_svc.settings import UnreadSettings

SERVICES = [GroupServiceSettings, RouterSettings, UnreadSettings]


@pytest.mark.parametrize("kind", SERVICES)
def test_every_service_reads_the_password_from_a_file_and_never_shows_it(kind, tmp_path: pathlib.Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret-pa55\n")
    settings = load(
        kind, flags={"redis_url": "redis://redis.example:6380/2", "redis_user": "throng", "redis_password_file": secret}
    )
    access = settings.redis_access()
    assert access.password == "s3cret-pa55"
    assert access.options(access.nodes[0])["password"] == "s3cret-pa55"
    assert (access.nodes, access.options(access.nodes[0])["db"]) == ([("redis.example", 6380)], 2)
    assert "s3cret" not in repr(access) + repr(settings) + str(access)


@pytest.mark.parametrize(
    ("url", "nodes", "cluster", "secured"),
    [
        ("redis://a", [("a", 6379)], False, False),
        ("rediss://a:7000", [("a", 7000)], False, True),
        ("redis+cluster://a:1,b:2,c:3", [("a", 1), ("b", 2), ("c", 3)], True, False),
        ("rediss+cluster://a:1,b", [("a", 1), ("b", 6379)], True, True),
        ("redis://[::1]:7000", [("::1", 7000)], False, False),
    ],
)
def test_addresses(url, nodes, cluster, secured) -> None:
    access = load(GroupServiceSettings, flags={"redis_url": url}).redis_access()
    assert (access.nodes, access.cluster, access.secured) == (nodes, cluster, secured)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"redis_url": "redis://:s3cret@host"}, "a password does not belong here"),
        ({"redis_url": "redis://user:s3cret@host"}, "a password does not belong here"),
        ({"redis_url": "redis+cluster://u:s3cret@a:1,b:2"}, "a password does not belong here"),
        ({"redis_url": "redis://host?password=s3cret"}, "a password does not belong here"),
        ({"redis_url": "rediss://host?ssl_cert_reqs=none"}, "it takes no parameters"),
        ({"redis_url": "http://host"}, "it must begin with"),
        ({"redis_url": "redis://"}, "name a place"),
        ({"redis_url": "redis://host:port"}, "host:port is not host:port"),
        ({"redis_url": "redis+cluster://a:1,b:x"}, "b:x is not host:port"),
        ({"redis_url": "redis+cluster://a:1/3"}, "none for a cluster"),
        ({"redis_url": "redis://host/x"}, "number of a database"),
        ({"redis_url": "redis://host", "redis_ca_file": "ca.pem"}, "rediss:// only"),
        ({"redis_url": "rediss://host", "redis_cert_file": "cert.pem"}, "belong together"),
        ({"redis_user": "throng"}, "redis_user needs redis_password_file"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(flags, sentence) -> None:
    with pytest.raises(SettingsError) as caught:
        load(RouterSettings, flags=flags)
    assert sentence in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_password_file_that_is_missing_is_named(tmp_path: pathlib.Path) -> None:
    settings = load(UnreadSettings, flags={"redis_password_file": tmp_path / "nothing"})
    with pytest.raises(ThrongError, match="nothing"):
        settings.redis_access()
