"""Prometheus, which scrapes services of this machine and judges rules."""

from __future__ import annotations

import json
import pathlib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from throng.testing.servers.process import ServerProcess, find_program, free_port

_START_SECONDS = 20.0
_CALL_SECONDS = 10.0


class PrometheusServer(ServerProcess):
    """A server on 127.0.0.1.

    Args:
        folder: for its configuration and data.
        targets: `host:port` of services by the job that they are given.
        rules: files with rules.
        interval_seconds: between two scrapes, and between two evaluations of the rules.

    Raises (from the constructor): ServerMissing.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        targets: Mapping[str, Sequence[str]],
        *,
        rules: Sequence[pathlib.Path] = (),
        interval_seconds: float = 1.0,
    ) -> None:
        self._program = find_program("prometheus", backend="prometheus", package="prometheus")
        super().__init__("prometheus", folder)
        self.port = free_port()
        interval = f"{round(interval_seconds * 1000)}ms"
        jobs = [{"job_name": job, "static_configs": [{"targets": list(found)}]} for job, found in targets.items()]
        self._config = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": [str(rule) for rule in rules],
            "scrape_configs": jobs,
        }

    def start(self) -> None:
        """Starts it and waits until it answers."""
        config = self.folder / "prometheus.yml"
        config.write_text(json.dumps(self._config), encoding="utf-8")  # JSON is YAML
        flags = [
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        self.launch([self._program, *flags, "--log.level=warn"])
        self.wait_until(self._answers, timeout_seconds=_START_SECONDS)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2.0):
                return True
        except OSError:
            return False

    def query(self, expr: str, *, at: float | None = None) -> list[dict[str, Any]]:
        """The series of an instant query: `metric` (labels) and `value` (time, text); `at`: Unix seconds.

        Raises:
            ValueError: Prometheus does not understand the expression. OSError: nothing answers.
        """
        found: list[dict[str, Any]] = self._ask("query", query=expr, **({} if at is None else {"time": str(at)}))["result"]
        return found

    def query_range(self, expr: str, start: float, end: float, step_seconds: float) -> list[dict[str, Any]]:
        """The series over a time: `metric` and `values`; times are Unix seconds.

        Raises: as `query`.
        """
        times = {"start": str(start), "end": str(end), "step": str(step_seconds)}
        found: list[dict[str, Any]] = self._ask("query_range", query=expr, **times)["result"]
        return found

    def _ask(self, path: str, **arguments: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=_CALL_SECONDS) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise ValueError(f"{arguments['query']}: {error.read().decode(errors='replace')[:500]}") from error
        data: dict[str, Any] = answer["data"]
        return data
