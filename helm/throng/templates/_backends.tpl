{{- /* Where Kafka, MySQL and Redis are: by address, or in the trial. */ -}}

{{- define "throng.kafkaServers" -}}
{{- if .Values.trial.enabled -}}
{{- printf "%s:9092" (include "throng.trialHost" (list . "trial-kafka")) -}}
{{- else -}}
{{- join "," .Values.kafka.servers -}}
{{- end -}}
{{- end -}}

{{- define "throng.mysqlServers" -}}
{{- if .Values.trial.enabled -}}
{{- printf "%s:3306" (include "throng.trialHost" (list . "trial-mysql")) -}}
{{- else -}}
{{- join "," .Values.mysql.servers -}}
{{- end -}}
{{- end -}}

{{- define "throng.redisServers" -}}
{{- if .Values.trial.enabled -}}
{{- printf "%s:6379" (include "throng.trialHost" (list . "trial-redis")) -}}
{{- else -}}
{{- join "," .Values.redis.servers -}}
{{- end -}}
{{- end -}}

{{- define "throng.trialHost" -}}
{{- $root := index . 0 -}}
{{- printf "%s.%s.svc.%s" (include "throng.componentName" .) $root.Release.Namespace $root.Values.clusterDomain -}}
{{- end -}}

{{- define "throng.trialSecret" -}}{{ include "throng.fullname" . }}-trial{{- end -}}

{{- /* Takes (list $ user). A url without a password: that comes from a file. */ -}}
{{- define "throng.mysqlUrl" -}}
{{- $root := index . 0 -}}
{{- printf "mysql://%s@%s/%s" (index . 1) (include "throng.mysqlServers" $root) $root.Values.mysql.database -}}
{{- end -}}

{{- define "throng.redisUrl" -}}
{{- $redis := .Values.redis -}}
{{- $scheme := printf "redis%s%s" (ternary "s" "" $redis.tls.enabled) (ternary "+cluster" "" $redis.cluster) -}}
{{- printf "%s://%s%s" $scheme (include "throng.redisServers" .) (ternary "" (printf "/%v" (int64 $redis.database)) $redis.cluster) -}}
{{- end -}}

{{- /* Takes (list $ kind), kind: kafka, mysql or redis. What a NetworkPolicy lets through: its peers, and the ports of its servers. */ -}}
{{- define "throng.backendEgress" -}}
{{- $root := index . 0 -}}
{{- $kind := index . 1 -}}
{{- $servers := splitList "," (include (printf "throng.%sServers" $kind) $root) -}}
{{- $ports := list -}}
{{- range $servers -}}
{{- $ports = append $ports (regexFind "[0-9]+$" .) -}}
{{- end -}}
- ports:
    {{- range uniq $ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- if $root.Values.trial.enabled }}
  to:
    - podSelector:
        matchLabels:
          {{- include "throng.selector" (list $root (printf "trial-%s" $kind)) | nindent 10 }}
  {{- else }}
  {{- with (index $root.Values $kind).peers }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end -}}
