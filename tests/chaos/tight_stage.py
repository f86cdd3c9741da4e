"""The cluster of the chaos tests with small bounds, a word list and a safety hook: what has to be told can be made to happen."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from concurrent import futures

import grpc
from chaos_stage import ChaosStage

from throng.api.safety.v1 import safety_pb2, safety_pb2_grpc
from throng.cluster import ClusterPlan
from throng.testing.servers import free_port

MOST_CONNECTIONS = 120
HANDSHAKES_PER_SECOND = 60
DEFECTIVE = "edge-1"
"""The edge in which a defect is planted."""

_HOOK_THREADS = 8


class _Hook(safety_pb2_grpc.SafetyHookServiceServicer):
    def CheckMessage(self, request, context):  # noqa: N802
        return safety_pb2.CheckMessageResponse(verdict=safety_pb2.VERDICT_ALLOWED)


class TightStage(ChaosStage):
    """As `ChaosStage`; edges take few clients and few handshakes a second, queues of routers hold little.

    Attributes:
        word_file: the word list of the group services, looked at twice a second.
    """

    def _plan(self) -> ClusterPlan:
        self.word_file = self.folder / "words.txt"
        self.word_file.write_text("unspeakable\n", encoding="utf-8")
        self._hook_address = f"127.0.0.1:{free_port()}"
        plan = super()._plan()
        planted = [str(pathlib.Path(__file__).parent / "planted_defect"), os.environ.get("PYTHONPATH", "")]
        flags = {
            "edge": {"max_connections": str(MOST_CONNECTIONS), "handshakes_per_second": str(HANDSHAKES_PER_SECOND)},
            "router": {"queue_events": "20", "window_bytes": "4096"},
            "group": {
                "word_list_file": str(self.word_file),
                "word_list_check_seconds": "0.5",
                "safety_hook_address": self._hook_address,
            },
        }
        return dataclasses.replace(
            plan,
            environment={DEFECTIVE: {"PYTHONPATH": os.pathsep.join(filter(None, planted))}},
            flags={kind: {**plan.flags.get(kind, {}), **flags.get(kind, {})} for kind in plan.flags.keys() | flags.keys()},
        )

    def start(self) -> None:
        self.start_hook()
        super().start()

    def stop(self) -> None:
        super().stop()
        self.stop_hook()

    def start_hook(self) -> None:
        """The safety hook allows everything."""
        self._hook = grpc.server(futures.ThreadPoolExecutor(_HOOK_THREADS, thread_name_prefix="safety-hook"))
        safety_pb2_grpc.add_SafetyHookServiceServicer_to_server(_Hook(), self._hook)
        assert self._hook.add_insecure_port(self._hook_address)
        self._hook.start()

    def stop_hook(self) -> None:
        """It is gone. Idempotent."""
        self._hook.stop(0.5).wait()
