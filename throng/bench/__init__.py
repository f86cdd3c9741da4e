"""The delivery oracle and load client: sends, receives, and judges whether every promise was kept.

    run(BenchPlan) -> BenchReport            or, with faults made meanwhile:
    with BenchRun(plan) as running: ...; running.note("killed"); report = running.wait()

    coordinator (thread)                               worker (process, one event loop)
    run.py --share--> worker_links.py --socket--> worker.py -> fleet.py -> clients --WebSocket--> edges
       |  <--ticks, evidence--'                                   receiver.py, sender.py (pure)
       '--gRPC heads, history--> group_service.py
       '--> verdict.py -> judge.py (pure) -> report.py -> plot.py

Receivers behave as docs/protocol.md says and count nothing twice; senders keep every answer. At the end the history is read from
the group service and compared with both. docs/bench.md tells how to read the result.

- `scenarios.py`       named loads
- `plan.py`            the options of a run
- `script.py`          what is done to clients, and when
- `schedule.py`        when messages are due
- `sharing.py`         deals users out to groups, edges and workers
- `shares.py`          what coordinator and workers say to each other
- `run.py`             the phases of a run
- `worker_links.py`    the worker processes as the coordinator sees them
- `worker.py`          the process of one worker
- `fleet.py`           all clients of one worker
- `client.py`          a client that stays connected
- `receiver_client.py` a connected receiver
- `sender_client.py`   a connected sender
- `disturbances.py`    cuts clients off, stops their reading, sends them away
- `receiver.py`        state machine of a receiver
- `sender.py`          state machine of a sender
- `group_view.py`      what the receivers of one process saw of one group
- `pages.py`           what is kept of messages
- `decoding.py`        from bytes to events, what many get alike only once
- `websocket.py`       the client's half of RFC 6455
- `group_service.py`   groups, heads and history by gRPC
- `judge.py`           compares history, senders and receivers
- `findings.py`        what can be wrong, with its invariant
- `verdict.py`         from evidence to figures and verdict
- `facts.py`           what demands look at
- `demands.py`         what a scenario demands besides
- `server_processes.py` memory and CPU of the server
- `latencies.py`       percentiles
- `series.py`          slots of 100 ms, and recovery times
- `report.py`          the result, as text and as JSON
- `plot.py`            the result as a drawing
"""

from throng.bench.group_service import EndedEarlyError
from throng.bench.plan import BenchPlan, DeliveryMode
from throng.bench.report import BenchEvent, BenchReport, Verdict
from throng.bench.run import BenchRun, run
from throng.bench.scenarios import Scenario

__all__ = ["BenchEvent", "BenchPlan", "BenchReport", "BenchRun", "DeliveryMode", "EndedEarlyError", "Scenario", "Verdict", "run"]
