{{- /* What runs in the containers of the trial servers. */ -}}

{{- define "throng.trial-kafka" -}}
command: [bash, -ec]
args:
  - |
    folder=/var/lib/throng-trial
    cat >/tmp/server.properties <<END
    process.roles=broker,controller
    node.id=1
    controller.quorum.voters=1@127.0.0.1:9093
    listeners=PLAINTEXT://:9092,CONTROLLER://127.0.0.1:9093
    advertised.listeners=PLAINTEXT://{{ include "throng.trialHost" (list . "trial-kafka") }}:9092
    controller.listener.names=CONTROLLER
    listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
    inter.broker.listener.name=PLAINTEXT
    log.dirs=$folder/log
    offsets.topic.replication.factor=1
    transaction.state.log.replication.factor=1
    transaction.state.log.min.isr=1
    share.coordinator.state.topic.replication.factor=1
    share.coordinator.state.topic.min.isr=1
    offsets.topic.num.partitions=4
    group.initial.rebalance.delay.ms=0
    auto.create.topics.enable=false
    END
    /opt/kafka/bin/kafka-storage.sh format --ignore-formatted -t QWxsLWluLXRoZS10cmlhbA -c /tmp/server.properties
    exec /opt/kafka/bin/kafka-server-start.sh /tmp/server.properties
env:
  - {name: LOG_DIR, value: /tmp/kafka}
  - {name: KAFKA_HEAP_OPTS, value: "-Xms128m -Xmx512m"}
{{- end -}}

{{- define "throng.trial-mysql" -}}
args: [--datadir=/var/lib/throng-trial/mysql, --character-set-server=utf8mb4, --innodb-flush-log-at-trx-commit=1, --skip-name-resolve]
env:
  - {name: MARIADB_RANDOM_ROOT_PASSWORD, value: "yes"}
  - {name: MARIADB_DATABASE, value: {{ .Values.mysql.database | quote }}}
  - {name: MARIADB_USER, value: {{ .Values.mysql.user | quote }}}
  - {name: MARIADB_PASSWORD_FILE, value: /etc/throng/password}
{{- end -}}

{{- define "throng.trial-redis" -}}
command: [sh, -ec]
args:
  - |
    umask 077
    { echo "requirepass $(cat /etc/throng/password)"; echo 'save ""'; echo 'appendonly no'; echo 'dir /tmp'; } >/tmp/redis.conf
    exec redis-server /tmp/redis.conf
{{- end -}}
