"""Settings of services that can keep their tables in MySQL; a mixin."""

from __future__ import annotations

import pathlib
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from throng.adapters.mysql_access import MySQLAccess, parse_url
from throng.domain.errors import ErrorCode, ThrongError
from throng.runtime.secret_files import read_secret_file
from throng.runtime.settings import ServiceSettings


class MySQLSettings(ServiceSettings):
    """Which store, and how MySQL is reached. The password comes from a file alone."""

    store: Literal["sqlite", "mysql"] = Field(
        "sqlite", description="Where tables are: sqlite: a file in the data folder; mysql: MySQL 8 or MariaDB 10.11, see mysql.md."
    )
    mysql_url: str = Field(
        "",
        description="mysql://user@host:3306,otherhost:3306/database without a password; the first host that takes writes is used.",
    )
    mysql_password_file: pathlib.Path | None = Field(
        None, description="File with the password of the MySQL user; none: no password."
    )
    mysql_ca_file: pathlib.Path | None = Field(
        None, description="PEM of the authority of MySQL's certificates; given: TLS, and the host's name is checked; none: no TLS."
    )
    mysql_cert_file: pathlib.Path | None = Field(None, description="PEM of this service's certificate for MySQL.")
    mysql_key_file: pathlib.Path | None = Field(None, description="PEM of the key of that certificate.")
    mysql_pool_size: int = Field(16, ge=2, le=500, description="Connections to MySQL at most.")
    mysql_timeout_seconds: float = Field(
        2.5, ge=0.5, le=60.0, description="Time that a connection, a statement or a free connection is waited for, each, seconds."
    )

    @field_validator("mysql_url")
    @classmethod
    def _is_mysql_url(cls, value: str) -> str:
        if value:
            parse_url(value)
        return value

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.store == "mysql" and not self.mysql_url:
            raise ValueError("store mysql needs mysql_url")
        if (self.mysql_cert_file is None) is not (self.mysql_key_file is None):
            raise ValueError("mysql_cert_file and mysql_key_file go together")
        if self.mysql_cert_file is not None and self.mysql_ca_file is None:
            raise ValueError("mysql_cert_file needs mysql_ca_file")
        return self

    def mysql_access(self) -> MySQLAccess:
        """What a pool needs; reads the password file.

        Raises:
            ThrongError: INVALID_ARGUMENT when there is no url or the file cannot be read.
        """
        if not self.mysql_url:
            raise ThrongError(ErrorCode.INVALID_ARGUMENT, "mysql_url is missing")
        hosts, user, database = parse_url(self.mysql_url)
        return MySQLAccess(
            hosts=hosts,
            user=user,
            database=database,
            password="" if self.mysql_password_file is None else read_secret_file(self.mysql_password_file),
            ca_file=self.mysql_ca_file,
            cert_file=self.mysql_cert_file,
            key_file=self.mysql_key_file,
            pool_size=self.mysql_pool_size,
            timeout_seconds=self.mysql_timeout_seconds,
        )
