"""Long chaos: random schedules over a whole cluster, until the time is over. Exit code 0: every promise held.

    make chaos ARGS="--minutes 10 --seed 7"

First alerts are fired that take a cluster with small bounds (`alert_round.py`), then come minutes without each store, then random rounds.
Ends with a table of recovery times (artifacts/chaos-recovery-times.md) and one line per round. A round is repeated by its seed alone:
`--seed 7 --round 3`.
"""

from __future__ import annotations

import argparse
import pathlib
import secrets
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import provision
import recovery_table
from alert_round import fire_alerts_on_a_new_cluster
from chaos_round import Load, Round
from chaos_stage import ChaosStage
from schedule import Step, long_outages, random_round

ARTIFACTS = pathlib.Path(__file__).resolve().parents[2] / "artifacts"


@dataclass(slots=True)
class Outcome:
    """What became of one round."""

    name: str
    faults: int
    seconds: float
    acked: int
    deliveries: int
    failure: str


def run_round(stage: ChaosStage, name: str, steps: list[Step], seed: int, load: Load, rows: list[recovery_table.Row]) -> Outcome:
    """Runs one round; a promise that did not hold becomes part of the outcome."""
    started, failure, done = time.monotonic(), "", 0
    round_ = Round(stage, name, seed=seed, load=load)
    try:
        with round_:
            for step in steps:
                time.sleep(step.after_seconds)
                print(f"   {step.fault.name}, {step.fault.hold_seconds:.1f} s", flush=True)
                round_.apply(step.fault)
                done += 1
            rows += round_.finish()
    except AssertionError as error:
        failure = str(error)
    except Exception:
        failure = traceback.format_exc()
    report = round_.report
    acked = report.messages.acked if report else 0
    return Outcome(name, done, time.monotonic() - started, acked, report.deliveries.received if report else 0, failure)


def run_alerts(folder: pathlib.Path, seed: int, rows: list[recovery_table.Row]) -> Outcome:
    """Fires the alerts; what did not hold becomes part of the outcome."""
    print(f"== alerts (seed {seed})", flush=True)
    started, failure, faults, acked, received = time.monotonic(), "", 0, 0, 0
    folder.mkdir()
    try:
        found, report = fire_alerts_on_a_new_cluster(folder, seed, ARTIFACTS / "chaos-logs" / "alerts")
        rows += found
        faults, acked, received = len(found), report.messages.acked, report.deliveries.received
    except AssertionError as error:
        failure = str(error)
    except Exception:
        failure = traceback.format_exc()
    seconds = time.monotonic() - started
    print(f"== alerts: {'held' if not failure else 'FAILED'}, {seconds:.0f} s\n{failure}", flush=True)
    return Outcome("alerts", faults, seconds, acked, received, failure)


def main() -> int:
    """Runs rounds; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long; a round that has begun is finished")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run; default: a new one, which is printed")
    parser.add_argument("--round", type=int, default=None, help="only this round of the seed")
    parser.add_argument("--rate", type=float, default=60.0, help="messages per second")
    parser.add_argument("--receivers", type=int, default=60)
    parser.add_argument("--no-outages", action="store_true", help="leave out the minutes without a store")
    parser.add_argument("--no-alerts", action="store_true", help="leave out the round that fires alerts")
    parser.add_argument("--only-alerts", action="store_true", help="only the round that fires alerts")
    arguments = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    ARTIFACTS.mkdir(exist_ok=True)
    provision.install_everything()
    print(f"seed {seed}", flush=True)
    rows: list[recovery_table.Row] = []
    outcomes: list[Outcome] = []
    load = Load(groups=6, receivers=arguments.receivers, senders=12, rate=arguments.rate)
    with tempfile.TemporaryDirectory(prefix="throng-chaos-") as folder:
        if arguments.round is None and not arguments.no_alerts:
            outcomes.append(run_alerts(pathlib.Path(folder) / "alerts", seed, rows))
        if arguments.only_alerts:
            return _conclude(seed, rows, outcomes)
        stage = ChaosStage(pathlib.Path(folder), say=print)
        try:
            stage.start()
            _run_all(stage, arguments, seed, load, rows, outcomes)
        finally:
            stage.stop()
            stage.keep_logs(ARTIFACTS / "chaos-logs")
    return _conclude(seed, rows, outcomes)


def _run_all(
    stage: ChaosStage,
    arguments: argparse.Namespace,
    seed: int,
    load: Load,
    rows: list[recovery_table.Row],
    outcomes: list[Outcome],
) -> None:
    deadline = time.monotonic() + arguments.minutes * 60
    plans: list[tuple[str, list[Step]]] = []
    if arguments.round is None and not arguments.no_outages:
        plans.append(("outages", long_outages()))
    number = arguments.round or 0
    while plans or time.monotonic() < deadline or not outcomes:
        name, steps = plans.pop(0) if plans else (f"round-{number}", random_round(seed, number))
        number += name.startswith("round")
        print(f"== {name} (seed {seed})", flush=True)
        outcome = run_round(stage, name, steps, seed, load, rows)
        outcomes.append(outcome)
        print(f"== {name}: {'held' if not outcome.failure else 'FAILED'}, {outcome.seconds:.0f} s", flush=True)
        if outcome.failure:
            print(outcome.failure, flush=True)
        if arguments.round is not None:
            return
        stage.mend()


def _conclude(seed: int, rows: list[recovery_table.Row], outcomes: list[Outcome]) -> int:
    path = recovery_table.write(rows, ARTIFACTS, "chaos-recovery-times")
    print(f"\n{path.read_text(encoding='utf-8')}")
    for one in outcomes:
        verdict = "FAILED" if one.failure else "held"
        print(
            f"{one.name:<10} {one.faults:>2} faults  {one.seconds:>4.0f} s  {one.acked:>7,} ACKed  {one.deliveries:>9,} delivered  {verdict}"
        )
    failed = sum(bool(one.failure) for one in outcomes)
    print(f"seed {seed}: {len(outcomes)} rounds, {failed} failed")
    return 1 if failed or not outcomes else 0


if __name__ == "__main__":
    raise SystemExit(main())
