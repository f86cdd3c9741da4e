"""Real Kafka, MariaDB and Redis on this machine without containers, for tests, benchmarks and `throng cluster`.

In: a private folder. Out: a server on 127.0.0.1 that is killed, paused and started again at will, on the same port and data.

- `process.py`        a server process: start, wait until ready, stop, kill, pause
- `kafka.py`          Kafka in KRaft mode: one broker, and several that replicate
- `kafka_jars.py`     fetches Kafka by Maven once and keeps it
- `mariadb.py`        MariaDB
- `redis.py`          Redis, and a Redis Cluster of several nodes
- `prometheus.py`     Prometheus, which scrapes services and judges rules
- `fault_proxy.py`    a TCP proxy that cuts, stalls, delays and slows connections
- `packages.py`       installs what is missing
"""

from throng.testing.servers.fault_proxy import FaultProxy
from throng.testing.servers.kafka import KafkaClusterServers, KafkaServer
from throng.testing.servers.mariadb import MariaDBServer
from throng.testing.servers.process import ServerMissing, free_port
from throng.testing.servers.prometheus import PrometheusServer
from throng.testing.servers.redis import RedisClusterServers, RedisServer

__all__ = [
    "FaultProxy",
    "KafkaClusterServers",
    "KafkaServer",
    "MariaDBServer",
    "PrometheusServer",
    "RedisClusterServers",
    "RedisServer",
    "ServerMissing",
    "free_port",
]
