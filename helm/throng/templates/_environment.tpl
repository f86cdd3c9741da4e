{{- /* Environment variables of the services: addresses, files, what the values say, and further settings. */ -}}

{{- /* Takes (list $ component). */ -}}
{{- define "throng.environment" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $settings := fromYaml (include (printf "throng.%sSettings" $component) $root) -}}
{{- $uses := get (fromYaml (include "throng.uses" $root)) $component -}}
{{- range $kind := $uses -}}
{{- $settings = merge $settings (fromYaml (include (printf "throng.%sSettings" $kind) $root)) -}}
{{- end -}}
{{- $_ := set $settings "metrics_host" (include "throng.anyAddress" $root) -}}
{{- $_ := set $settings "metrics_port" (include "throng.metricsPort" $root) -}}
{{- if $root.Values.rpc.tls.enabled -}}
{{- $_ := set $settings "rpc_server_name" $root.Values.rpc.tls.serverName -}}
{{- end -}}
{{- range fromYamlArray (include "throng.files" .) -}}
{{- $_ := set $settings .setting (printf "/etc/throng/%s" .path) -}}
{{- end -}}
{{- $settings = merge $settings (index $root.Values $component).settings -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: HOST_IP
  valueFrom: {fieldRef: {fieldPath: status.hostIP}}
{{- range $name, $value := $settings }}
- {name: THRONG_{{ upper $component }}_{{ upper $name }}, value: {{ include "throng.scalar" $value | quote }}}
{{- end }}
{{- end -}}

{{- define "throng.edgeSettings" -}}
host: {{ include "throng.anyAddress" . | quote }}
port: {{ include "throng.httpPort" . | quote }}
internal_host: {{ include "throng.anyAddress" . | quote }}
internal_port: {{ include "throng.grpcPort" "edge" | quote }}
internal_address: "{{ include "throng.podAddress" . }}:{{ include "throng.grpcPort" "edge" }}"
edge_id: $(POD_NAME)
public_url: {{ default (ternary (printf "wss://%s" .Values.host) "" (ne .Values.host "")) .Values.edge.publicUrl | quote }}
uplink: kafka
group_addresses: {{ include "throng.address" (list . "group") }}
router_addresses: {{ include "throng.address" (list . "router") }}
unread_addresses: {{ include "throng.address" (list . "unread") }}
audience: {{ .Values.auth.audience | quote }}
allowed_origins: {{ join "," .Values.auth.allowedOrigins | quote }}
dev_login: {{ .Values.auth.devLogin | quote }}
default_groups: {{ join "," .Values.auth.defaultGroups | quote }}
public_metrics: "false"
drain_window_ms: {{ mul (int64 .Values.edge.drainWindowSeconds) 1000 | quote }}
{{- end -}}

{{- define "throng.groupSettings" -}}
host: {{ include "throng.anyAddress" . | quote }}
port: {{ include "throng.grpcPort" "group" | quote }}
internal_address: "{{ include "throng.podAddress" . }}:{{ include "throng.grpcPort" "group" }}"
uplink: kafka
router_addresses: {{ include "throng.address" (list . "router") }}
unread_addresses: {{ include "throng.address" (list . "unread") }}
default_group: {{ first .Values.auth.defaultGroups | default "" | quote }}
drain_seconds: {{ .Values.group.drainSeconds | toString | quote }}
{{- end -}}

{{- define "throng.routerSettings" -}}
host: {{ include "throng.anyAddress" . | quote }}
port: {{ include "throng.grpcPort" "router" | quote }}
drain_seconds: {{ .Values.router.drainSeconds | toString | quote }}
{{- end -}}

{{- define "throng.unreadSettings" -}}
host: {{ include "throng.anyAddress" . | quote }}
port: {{ include "throng.grpcPort" "unread" | quote }}
group_addresses: {{ include "throng.address" (list . "group") }}
stop_grace_seconds: {{ .Values.unread.drainSeconds | toString | quote }}
{{- end -}}

{{- define "throng.kafkaSettings" -}}
{{- $kafka := .Values.kafka -}}
kafka_servers: {{ include "throng.kafkaServers" . | quote }}
kafka_topic: {{ $kafka.topic | quote }}
kafka_partitions: {{ int64 $kafka.partitions | toString | quote }}
kafka_replication_factor: {{ ternary 1 (int64 $kafka.replicationFactor) .Values.trial.enabled | toString | quote }}
kafka_min_insync_replicas: {{ ternary 1 (int64 $kafka.minInsyncReplicas) .Values.trial.enabled | toString | quote }}
kafka_retention_hours: {{ int64 $kafka.retentionHours | toString | quote }}
kafka_tls: {{ $kafka.tls.enabled | toString | quote }}
{{- if $kafka.user }}
kafka_user: {{ $kafka.user | quote }}
kafka_sasl_mechanism: {{ $kafka.saslMechanism | quote }}
{{- end }}
{{- end -}}

{{- define "throng.mysqlSettings" -}}
store: mysql
mysql_url: {{ include "throng.mysqlUrl" (list . .Values.mysql.user) | quote }}
{{- end -}}

{{- define "throng.redisSettings" -}}
redis_url: {{ include "throng.redisUrl" . | quote }}
{{- if .Values.redis.user }}
redis_user: {{ .Values.redis.user | quote }}
{{- end }}
{{- end -}}
