"""Generates helm/throng/values.schema.json and the table in its README.md; `--check` fails when one differs."""

from __future__ import annotations

import json
import pathlib
import re
import sys
from typing import Any

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "docs"))

from generated_files import asked_to_check, settle

CHART = pathlib.Path(__file__).resolve().parent / "throng"
SET_BY_CHART = re.compile(
    r"(host|port|reuse_port|internal_.*|metrics_.*|public_metrics|public_url|edge_id|.*_addresses|.*_file|uplink|uplink_max_records|store|data_dir"
    r"|static_dir|kafka_(servers|topic|partitions|replication_factor|min_insync_replicas|retention_hours|tls|user|sasl_mechanism)"
    r"|mysql_url|redis_url|redis_user|rpc_server_name|audience|allowed_origins|dev_login|default_groups?|drain_.*|stop_grace_seconds)"
)
"""Settings that have a value of their own in the chart, or none in a cluster; the others are set under `settings`."""

_KEPT = ("type", "minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength", "pattern", "enum")


def load_source() -> dict[str, Any]:
    """values.schema.yaml without its anchors."""
    source = yaml.safe_load((CHART / "values.schema.yaml").read_text(encoding="utf-8"))
    return {name: node for name, node in source.items() if not name.startswith(".")}


def settings_of(service: str) -> dict[str, Any]:
    """JSON Schema of the settings of a service that the chart does not set."""
    from throng.cli.serve import SERVICES

    fields: dict[str, Any] = {}
    for name, node in SERVICES[service].settings().model_json_schema()["properties"].items():
        if not SET_BY_CHART.fullmatch(name):
            fields[name] = {key: node[key] for key in _KEPT if key in node} | {"description": node["description"]}
    text = f"Further settings of the service, by the names in [configuration.md](../../docs/configuration.md#{service})."
    return {"type": "object", "description": text, "additionalProperties": False, "properties": fields}


def to_schema(node: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of a node of the source; objects become closed ones."""
    if "settings" in node and isinstance(node["settings"], str):
        return settings_of(node["settings"])
    if "_" not in node:
        return node
    inner = {name: to_schema(child) for name, child in node.items() if name != "_"}
    return {"type": "object", "description": node["_"], "additionalProperties": False, "properties": inner}


def schema() -> dict[str, Any]:
    """The whole of values.schema.json."""
    properties = {name: to_schema(node) for name, node in load_source().items()}
    # Helm hands these to every chart that has a parent.
    properties["global"] = {"type": "object", "description": "Of a parent chart; not used."}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart throng",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _rows(name: str, node: dict[str, Any], default: Any) -> list[str]:
    if "properties" in node and name.rpartition(".")[2] != "settings":
        rows = [f"| **`{name}`** | | {node['description']} |"]
        for child, inner in node["properties"].items():
            rows += _rows(f"{name}.{child}", inner, default[child])
        return rows
    shown = "" if default in ("", [], {}, None) else f"`{json.dumps(default)}`"
    allowed = f" One of {', '.join(f'`{value}`' for value in node['enum'])}." if "enum" in node else ""
    return [f"| `{name}` | {shown} | {node['description']}{allowed} |"]


def table() -> str:
    """The table of values in README.md."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    rows = ["| value | default | meaning |", "| --- | --- | --- |"]
    for name, node in schema()["properties"].items():
        if name != "global":
            rows += _rows(name, node, defaults[name])
    return "\n".join(rows)


def readme(text: str) -> str:
    """README.md with its table made anew."""
    pattern = r"(<!-- generated: values -->\n).*?(<!-- end -->)"
    return re.sub(pattern, lambda match: f"{match[1]}{table()}\n{match[2]}", text, flags=re.S)


def main() -> int:
    """Writes the files, or with `--check` compares; returns the exit code."""
    check = asked_to_check(__doc__)
    page = CHART / "README.md"
    wanted = {
        CHART / "values.schema.json": json.dumps(schema(), indent=1, ensure_ascii=False) + "\n",
        page: readme(page.read_text(encoding="utf-8")),
    }
    return 1 if settle(wanted, "values.schema.yaml", check=check) else 0


if __name__ == "__main__":
    raise SystemExit(main())
