"""Reads the metrics of a process."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

_SECONDS = 5.0


def read_metric(address: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that carry these labels, from http://`address`/metrics.

    Raises:
        KeyError: there is no such sample. OSError: nothing answers.
    """
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=_SECONDS) as response:
        text = response.read().decode()
    found = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    if not found:
        raise KeyError(f"{name}{labels or ''} is not among the metrics of {address}")
    return sum(found)
