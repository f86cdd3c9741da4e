{{- /* Parts of pods that all workloads share. */ -}}

{{- define "throng.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ int64 .Values.pods.runAsUser }}
runAsGroup: {{ int64 .Values.pods.runAsUser }}
fsGroup: {{ int64 .Values.pods.runAsUser }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "throng.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- /* Takes (list $ component). Services by gRPC health: with TLS the pod asks itself, for a kubelet has no certificate to show. */ -}}
{{- define "throng.probes" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- if eq $component "edge" -}}
startupProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: 3
  timeoutSeconds: 5
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 6
{{- else -}}
{{- $tls := $root.Values.rpc.tls.enabled -}}
{{- range $probe, $pace := dict "startupProbe" (list 2 60) "readinessProbe" (list 5 3) "livenessProbe" (list 10 6) }}
{{ $probe }}:
  {{- if $tls }}
  exec: {command: [throng, health, {{ $component }}]}
  {{- else }}
  grpc: {port: {{ include "throng.grpcPort" $component }}}
  {{- end }}
  periodSeconds: {{ ternary (mul 2 (index $pace 0)) (index $pace 0) $tls }}
  timeoutSeconds: {{ ternary 10 5 $tls }}
  failureThreshold: {{ index $pace 1 }}
{{- end }}
{{- end -}}
{{- end -}}

{{- /* Takes (list $ component). Evenly over zones and nodes; a rollout counts only its own pods. */ -}}
{{- define "throng.spread" -}}
{{- $root := index . 0 -}}
{{- range $key, $policy := dict "topology.kubernetes.io/zone" $root.Values.pods.spread.zone "kubernetes.io/hostname" $root.Values.pods.spread.node }}
- topologyKey: {{ $key }}
  maxSkew: 1
  whenUnsatisfiable: {{ $policy }}
  matchLabelKeys: [pod-template-hash]
  labelSelector:
    matchLabels:
      {{- include "throng.selector" $ | nindent 6 }}
{{- end }}
{{- end -}}

{{- /* Takes (list $ component). How long a pod may take to end: until no new clients are sent here, its drain, and a margin. */ -}}
{{- define "throng.graceSeconds" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) -}}
{{- $drain := ternary $values.drainWindowSeconds $values.drainSeconds (eq (index . 1) "edge") -}}
{{- add (int64 $root.Values.pods.preStopSeconds) (int64 (ceil $drain)) (int64 $root.Values.pods.marginSeconds) -}}
{{- end -}}
