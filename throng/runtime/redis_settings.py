"""Settings of whoever uses Redis: where it is, how to get in, how long to wait."""

from __future__ import annotations

import pathlib
import urllib.parse

from pydantic import Field, field_validator, model_validator

from throng.adapters.redis_access import RedisAccess
from throng.runtime.secret_files import read_secret_file
from throng.runtime.settings import ServiceSettings

_SCHEMES = ("redis", "rediss", "redis+cluster", "rediss+cluster", "embedded")


class RedisSettings(ServiceSettings):
    """Fields `redis_…`; a service's settings inherit them."""

    redis_url: str = Field(
        default="embedded://throng",
        description="Redis: redis://host:port/db, redis+cluster://host:port,host:port (some nodes of a Redis Cluster), rediss:// "
        "and rediss+cluster:// by TLS, or embedded://NAME inside this process. No password: see redis_password_file.",
    )
    redis_user: str = Field(default="", description="Name by which Redis knows us (ACL); empty: its default user.")
    redis_password_file: pathlib.Path | None = Field(default=None, description="File with the password for Redis.")
    redis_ca_file: pathlib.Path | None = Field(
        default=None, description="PEM file of the authorities that sign Redis's certificate (rediss); none: those of the system."
    )
    redis_cert_file: pathlib.Path | None = Field(
        default=None, description="PEM file of our own certificate, where Redis asks for one (rediss)."
    )
    redis_key_file: pathlib.Path | None = Field(default=None, description="PEM file of the key of redis_cert_file.")
    redis_timeout_seconds: float = Field(
        default=1.0, gt=0, le=60, description="Deadline of every exchange with Redis, seconds; after it callers go on without it."
    )

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: str) -> str:
        parts = urllib.parse.urlsplit(value)
        if parts.scheme not in _SCHEMES or not parts.netloc:
            raise ValueError(f"it must begin with one of {', '.join(f'{scheme}://' for scheme in _SCHEMES)} and name a place")
        if ":" in parts.netloc.rpartition("@")[0] or "password=" in parts.query:
            raise ValueError("a password does not belong here: put it into a file and name that in redis_password_file")
        if parts.query or parts.fragment:
            raise ValueError("it takes no parameters: there are settings for them")
        if parts.path.strip("/") and (parts.scheme.endswith("+cluster") or not parts.path.strip("/").isdigit()):
            raise ValueError("after the address only the number of a database may follow, and none for a cluster")
        if not RedisAccess(value).nodes:
            raise ValueError("it names no node")
        return value

    @model_validator(mode="after")
    def _redis_settings_fit(self) -> RedisSettings:
        files = (self.redis_ca_file, self.redis_cert_file, self.redis_key_file)
        if any(files) and not self.redis_url.startswith("rediss"):
            raise ValueError("redis_ca_file, redis_cert_file and redis_key_file are for rediss:// only")
        if (self.redis_cert_file is None) != (self.redis_key_file is None):
            raise ValueError("redis_cert_file and redis_key_file belong together")
        if self.redis_user and self.redis_password_file is None:
            raise ValueError("redis_user needs redis_password_file")
        return self

    def redis_access(self) -> RedisAccess:
        """What the adapters are given.

        Raises:
            ThrongError: INVALID_ARGUMENT that names the password file, when it cannot be read.
        """
        password = "" if self.redis_password_file is None else read_secret_file(self.redis_password_file)
        return RedisAccess(
            self.redis_url,
            timeout_seconds=self.redis_timeout_seconds,
            user=self.redis_user,
            password=password,
            ca_file=self.redis_ca_file,
            cert_file=self.redis_cert_file,
            key_file=self.redis_key_file,
        )
