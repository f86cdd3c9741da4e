"""Validates objects against the schemas of a version of Kubernetes, which the package kubernetes-validate holds; strict: no unknown field."""

from __future__ import annotations

import functools
import re
from typing import Any

import jsonschema
import referencing
from kubernetes_validate.utils import schema_contents


@functools.cache
def _definitions(version: str) -> Any:
    contents = schema_contents(f"kubernetes-json-schema/v{version}.0-local-strict/_definitions.json", version)
    return referencing.Resource.from_contents(contents)


@functools.cache
def _validator(kind: str, api_version: str, version: str) -> Any:
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    schema = schema_contents(f"kubernetes-json-schema/v{version}.0-local-strict/{kind.lower()}-{group}.json", version)
    registry: Any = referencing.Resource.from_contents(schema) @ referencing.Registry()
    return jsonschema.Draft202012Validator(schema, registry=_definitions(version) @ registry)


def faults(one: dict[str, Any], version: str) -> list[str]:
    """What is wrong with an object, each with its place; empty: nothing.

    Args:
        one: the object. version: of Kubernetes, such as 1.34.

    Raises:
        FileNotFoundError: this version knows no such kind.
    """
    found = _validator(one["kind"], one["apiVersion"], version).iter_errors(one)
    return [f"{one['kind']} {one['metadata']['name']}: {'.'.join(map(str, error.path))}: {error.message}" for error in found]
