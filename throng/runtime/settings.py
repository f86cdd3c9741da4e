"""Settings from flags, environment (`THRONG_<SERVICE>_<FIELD>`) and a file; what is wrong is named in one sentence.

Flags win over the environment, the environment over the file, the file over defaults. The file is TOML with a table per
service: `[edge] port = 8080`. An unknown name in the file, or an unknown `THRONG_<SERVICE>_…` variable, is an error.
"""

from __future__ import annotations

import os
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import pydantic
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """A setting is unknown, malformed or contradicts another; the text is one sentence for the operator."""


class ServiceSettings(BaseSettings):
    """Base of every service's settings; a subclass sets `service` and `model_config = service_config("<service>")`."""

    service: ClassVar[str] = ""

    metrics_host: str = Field("127.0.0.1", description="Address on which metrics_port is served.")
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="Port of /metrics of this very process, of an edge /healthz and /readyz as well; 0: any free one; empty: none.",
    )


def service_config(service: str) -> SettingsConfigDict:
    """The pydantic configuration of one service's settings."""
    return SettingsConfigDict(
        env_prefix=f"THRONG_{service.upper()}_", extra="forbid", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )


_S = TypeVar("_S", bound=ServiceSettings)


def load(
    kind: type[_S],
    *,
    flags: Mapping[str, Any] | None = None,
    file: pathlib.Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> _S:
    """Reads and validates the settings of one service; flags that are None count as not given.

    Raises:
        SettingsError: naming the setting and what is wrong with it.
    """
    variables = os.environ if environment is None else environment
    values = _from_file(kind, file) | _from_environment(kind, variables)
    values |= {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        return kind(**values)
    except pydantic.ValidationError as error:
        raise SettingsError(_sentence(kind, error)) from error


def _from_file(kind: type[ServiceSettings], file: pathlib.Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"The settings file {file} cannot be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"The settings file {file} is not TOML: {error}.") from error
    table = content.get(kind.service, {})
    if not isinstance(table, dict):
        raise SettingsError(f"[{kind.service}] in {file} must be a table.")
    unknown = sorted(set(table) - set(kind.model_fields))
    if unknown:
        raise SettingsError(f"The setting {kind.service}.{unknown[0]} in {file} does not exist.")
    return table


def _from_environment(kind: type[ServiceSettings], variables: Mapping[str, str]) -> dict[str, str]:
    prefix = f"THRONG_{kind.service.upper()}_"
    values: dict[str, str] = {}
    for name, value in variables.items():
        if name.startswith(prefix) and value != "":
            field = name[len(prefix) :].lower()
            if field not in kind.model_fields:
                raise SettingsError(f"The environment variable {name} does not exist.")
            values[field] = value
    return values


def _sentence(kind: type[ServiceSettings], error: pydantic.ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    name = ".".join([kind.service, *(str(part) for part in first["loc"])])
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    return f"The setting {name} is wrong: {reason}."
