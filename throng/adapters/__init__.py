"""Adapters of the shared ports, and what adapters of one technology share.

- `system_clock.py`    `Clock` over the operating system
- `memory_uplink.py`   the uplink inside one process (all-in-one)
- `submission_codec.py` a submission as bytes (throng.uplink.v1.SubmittedMessage) and back
- `grpc_uplink.py`   `UplinkProducer` for edge processes without shared memory (hop 2)
- `kafka_options.py` where Kafka is, how the topic is made, bounds
- `kafka_access.py`  Kafka's clients opened and given up, their exceptions translated
- `kafka_topic.py`   makes the topics, or says how they differ
- `kafka_sender.py`  appends to a Kafka topic without waiting, bounded
- `kafka_uplink_producer.py` `UplinkProducer` over Kafka (hop 2)
- `kafka_uplink_consumer.py` `UplinkConsumer` over Kafka (hop 3)
- `kafka_dead_letters.py` sets poison records aside
- `kafka_join.py` leads a consumer's joins of its group to their end
- `jwt_tokens.py`    `TokenVerifier` and the issuer of tokens
- `mysql_access.py`     where MySQL is and how it is entered
- `mysql_errors.py`     its error numbers in our words
- `mysql_statements.py` statements on one connection, values as SQL
- `mysql_pool.py`       a bounded pool over several hosts
- `mysql_database.py`   reads and transactions, repeated where that helps
- `mysql_migrations.py` its numbered migrations and their check at start
- `redis_access.py`    how to reach Redis: one server, a cluster, or the one embedded in this process
- `redis_calls.py`     calls of Redis, the slots of a cluster, and what is asked again
- `redis_nodes.py`     which node of a cluster is asked
- `redis_client.py`    exchanges with Redis for threads
- `redis_aio.py`       exchanges with Redis for asyncio
- `redis_errors.py`    what the exceptions of redis-py mean
- `sqlite_database.py` a SQLite file with one writer, and its migrations
"""
