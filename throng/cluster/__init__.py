"""Real servers and several of each service on one machine, as `throng cluster`, and for tests of faults and benchmarks.

In: a plan and a folder. Out: a running cluster whose parts are killed, paused and cut off from each other at will. What was
started ends with the process that started it, in good order when it can, also after kill -9.

```
 Cluster --> Backends (Kafka, MariaDB, Redis) --> `throng migrate` --> ServiceProcess per replica --> ready
    '-- Links: a fault proxy per proxied connection      '-- Keeper: ends all of it when the supervisor is gone
```

- `plan.py`             how many of each, which links lead through a fault proxy
- `cluster.py`          the whole: start, stop, description, metrics
- `flags.py`            addresses, and the flags that tell them to each process
- `links.py`            fault proxies between parts
- `backends.py`         the servers
- `secured.py`          users of MySQL, and TLS to the servers
- `service_process.py`  one service as a process
- `keeper.py`           a process that ends what is left when the supervisor was killed
- `metrics.py`          reads the metrics of a process
- `command.py`          `throng cluster`
"""

from throng.cluster.cluster import Cluster
from throng.cluster.links import LinkSet
from throng.cluster.plan import LINKS, ClusterPlan
from throng.cluster.service_process import ClusterError, ServiceProcess

__all__ = ["LINKS", "Cluster", "ClusterError", "ClusterPlan", "LinkSet", "ServiceProcess"]
