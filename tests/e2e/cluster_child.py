"""Runs a small cluster until it is killed; prints a line when it is ready."""

from __future__ import annotations

import pathlib
import sys
import threading

from throng.cluster import Cluster, ClusterPlan

if __name__ == "__main__":
    Cluster(pathlib.Path(sys.argv[1]), ClusterPlan(edges=1, routers=1, groups=1, uplink="grpc", store="sqlite")).start()
    print("ready", flush=True)
    threading.Event().wait()
