"""One round on a cluster with small bounds: each fault of `told.long_faults` until its alert fires, and in the end none fires."""

from __future__ import annotations

import functools
import pathlib
import time

from chaos_round import Round
from recovery_table import Row
from tight_stage import TightStage
from told import long_faults
from watcher import Watcher

from throng.bench import BenchReport

FIRES_SECONDS = 30.0


def fire_alerts(stage: TightStage, watcher: Watcher, seed: int) -> tuple[list[Row], BenchReport]:
    """Makes the faults one after another, under load and with every promise judged.

    Raises:
        AssertionError: an alert did not fire or does not end, or a promise did not hold.
    """
    with Round(stage, "alerts", seed=seed) as round_:
        watcher.wait_seeing()
        for fault, alert in long_faults():
            print(f"   {fault.name}: {alert}", flush=True)
            round_.apply(fault, meanwhile=functools.partial(watcher.wait_fired, alert, FIRES_SECONDS, since=time.time()))
        watcher.wait_quiet()
        rows = round_.finish()
    assert round_.report is not None
    return rows, round_.report


def fire_alerts_on_a_new_cluster(folder: pathlib.Path, seed: int, logs: pathlib.Path) -> tuple[list[Row], BenchReport]:
    """Starts the cluster and Prometheus for it, and ends both."""
    stage = TightStage(folder, say=print)
    try:
        stage.start()
        watcher = Watcher(stage.cluster, folder / "prometheus")
        watcher.start()
        try:
            return fire_alerts(stage, watcher, seed)
        finally:
            watcher.stop()
    finally:
        stage.stop()
        stage.keep_logs(logs)
