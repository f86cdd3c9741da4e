{{- /* What a schema cannot say: values that contradict each other, or that are missing, in one sentence each. */ -}}
{{- define "throng.checks" -}}
{{- $values := .Values -}}
{{- if not $values.trial.enabled -}}
{{- range $kind := list "kafka" "mysql" "redis" -}}
{{- if not (index $values $kind).servers -}}
{{- fail (printf "%s.servers is empty: name your servers as host:port, or set trial.enabled=true to try Throng out with servers inside the cluster." $kind) -}}
{{- end -}}
{{- end -}}
{{- if not (or $values.auth.jwtSecret.secret $values.auth.jwtPublicKey.secret) -}}
{{- fail "auth.jwtSecret.secret or auth.jwtPublicKey.secret must name the Secret that proves who a user is." -}}
{{- end -}}
{{- else -}}
{{- range $kind := list "kafka" "mysql" "redis" -}}
{{- if or (index $values $kind).servers (index $values $kind).tls.enabled -}}
{{- fail (printf "trial.enabled brings its own servers: leave %s.servers and %s.tls out." $kind $kind) -}}
{{- end -}}
{{- end -}}
{{- if $values.redis.cluster -}}
{{- fail "trial.enabled brings one Redis: leave redis.cluster out." -}}
{{- end -}}
{{- end -}}
{{- if and $values.auth.jwtSecret.secret $values.auth.jwtPublicKey.secret -}}
{{- fail "auth.jwtSecret and auth.jwtPublicKey exclude each other: an edge has one key." -}}
{{- end -}}
{{- if and $values.auth.devLogin $values.auth.jwtPublicKey.secret -}}
{{- fail "auth.devLogin needs auth.jwtSecret, for a public key cannot issue tokens." -}}
{{- end -}}
{{- if and $values.mysql.migrations.enabled (not $values.trial.enabled) (not $values.mysql.migrations.password.secret) -}}
{{- fail "mysql.migrations.password.secret must name the Secret with the password of mysql.migrations.user; or set mysql.migrations.enabled=false and run `throng migrate` yourself before each upgrade." -}}
{{- end -}}
{{- if and $values.mysql.tls.enabled (not $values.mysql.tls.ca.secret) -}}
{{- fail "mysql.tls.enabled needs mysql.tls.ca.secret: the server must prove its name." -}}
{{- end -}}
{{- if ne (empty $values.kafka.user) (empty $values.kafka.password.secret) -}}
{{- fail "kafka.user and kafka.password.secret go together." -}}
{{- end -}}
{{- if and (eq $values.kafka.saslMechanism "PLAIN") $values.kafka.user (not $values.kafka.tls.enabled) -}}
{{- fail "kafka.saslMechanism PLAIN shows the password to everyone on the way: it needs kafka.tls.enabled." -}}
{{- end -}}
{{- if and $values.redis.user (not $values.redis.password.secret) -}}
{{- fail "redis.user needs redis.password.secret." -}}
{{- end -}}
{{- if and $values.redis.cluster (ne (int64 $values.redis.database) 0) -}}
{{- fail "redis.database must be 0 where redis.cluster is set: a Redis Cluster has no other." -}}
{{- end -}}
{{- if gt (int64 $values.kafka.minInsyncReplicas) (int64 $values.kafka.replicationFactor) -}}
{{- fail "kafka.minInsyncReplicas must not be above kafka.replicationFactor." -}}
{{- end -}}
{{- $groups := int64 (ternary $values.group.autoscaling.maxReplicas $values.group.replicas $values.group.autoscaling.enabled) -}}
{{- if gt $groups (int64 $values.kafka.partitions) -}}
{{- fail (printf "%d replicas of group are more than kafka.partitions (%d): those above would have nothing to do." $groups (int64 $values.kafka.partitions)) -}}
{{- end -}}
{{- range $component := list "edge" "group" "router" "unread" -}}
{{- $scaling := (index $values $component).autoscaling -}}
{{- if gt (int64 $scaling.minReplicas) (int64 $scaling.maxReplicas) -}}
{{- fail (printf "%s.autoscaling.minReplicas must not be above maxReplicas." $component) -}}
{{- end -}}
{{- end -}}
{{- if $values.rpc.tls.enabled -}}
{{- if eq $values.rpc.tls.certManager.enabled (ne $values.rpc.tls.secret "") -}}
{{- fail "rpc.tls.enabled needs either rpc.tls.secret or rpc.tls.certManager.enabled." -}}
{{- end -}}
{{- else if or $values.rpc.tls.certManager.enabled $values.rpc.tls.secret -}}
{{- fail "rpc.tls.secret and rpc.tls.certManager mean nothing without rpc.tls.enabled." -}}
{{- end -}}
{{- if and $values.ingress.enabled (not $values.host) -}}
{{- fail "ingress.enabled needs host." -}}
{{- end -}}
{{- if and $values.gateway.enabled (eq (empty $values.gateway.parentRefs) (empty $values.gateway.className)) -}}
{{- fail "gateway.enabled needs either gateway.parentRefs (a Gateway that is there) or gateway.className (to make one)." -}}
{{- end -}}
{{- if and $values.gateway.className (not $values.host) -}}
{{- fail "gateway.className needs host." -}}
{{- end -}}
{{- end -}}
