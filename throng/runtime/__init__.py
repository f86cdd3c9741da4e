"""What every process needs around its service: settings, gRPC, logs, metrics, threads, start and stop.

- `settings.py`    settings from flags, environment and a file; one sentence for what is wrong
- `rpc_settings.py` the settings `rpc_…` of every service
- `rpc_security.py` certificates and tokens between services, read and checked
- `rpc_tokens.py`  tokens on calls, sent and checked
- `rpc_limits.py`  bounds of connections, messages and calls
- `rpc_streams.py` bounds of streams, in all and per peer
- `secret_files.py` secrets from files
- `redis_settings.py` settings of whoever uses Redis
- `redis_metrics.py` failures of Redis, by kind
- `rpc_status.py`  ThrongError to gRPC status with machine-readable details, and back
- `rpc_metrics.py` gRPC requests by method and code
- `mysql_settings.py` settings of services that can keep their tables in MySQL
- `mysql_metrics.py` the pool of MySQL connections of one service
- `rpc_interception.py` what is done with a call before its method runs
- `rpc_sync.py`    server and channel for services made of threads
- `rpc_aio.py`     server and channel for services on asyncio
- `aio_thread.py`  one asyncio loop in a thread of its own
- `logs.py`        structured logs
- `file_limit.py`  how many files may be open
- `lifecycle.py`   ordered start and stop, signals
- `kafka_settings.py` settings of Kafka for services that use it
- `kafka_metrics.py` the Kafka uplink as operators see it
"""
