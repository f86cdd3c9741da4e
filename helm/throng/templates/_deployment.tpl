{{- /* Takes (list $ component). The workload of one service. */ -}}
{{- define "throng.deployment" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := index $root.Values $component -}}
{{- $files := fromYamlArray (include "throng.files" .) -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "throng.componentName" . }}
  labels:
    {{- include "throng.labels" . | nindent 4 }}
spec:
  {{- if not $values.autoscaling.enabled }}
  replicas: {{ int64 $values.replicas }}
  {{- end }}
  minReadySeconds: {{ int64 $values.rollout.minReadySeconds }}
  progressDeadlineSeconds: 900
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: {{ $values.rollout.maxSurge }}
      maxUnavailable: {{ $values.rollout.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "throng.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "throng.labels" . | nindent 8 }}
        {{- with $root.Values.pods.labels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $root.Values.pods.annotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ include "throng.serviceAccountName" $root }}
      automountServiceAccountToken: false
      # A service's name in a variable such as THRONG_EDGE_PORT would be taken for a setting.
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ include "throng.graceSeconds" . }}
      {{- with $root.Values.image.pullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      securityContext:
        {{- include "throng.podSecurity" $root | nindent 8 }}
        {{- if eq $component "edge" }}
        {{- with $values.sysctls }}
        sysctls:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        {{- end }}
      topologySpreadConstraints:
        {{- include "throng.spread" . | nindent 8 }}
      containers:
        - name: {{ $component }}
          image: {{ include "throng.image" . }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          command: [throng, {{ $component }}]
          env:
            {{- include "throng.environment" . | nindent 12 }}
          ports:
            {{- if eq $component "edge" }}
            - {name: http, containerPort: {{ include "throng.httpPort" $root }}}
            {{- end }}
            - {name: grpc, containerPort: {{ include "throng.grpcPort" $component }}}
            - {name: metrics, containerPort: {{ include "throng.metricsPort" $root }}}
          {{- include "throng.probes" . | nindent 10 }}
          lifecycle:
            preStop:
              exec: {command: [sleep, {{ int64 $root.Values.pods.preStopSeconds | toString | quote }}]}
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          securityContext:
            {{- include "throng.containerSecurity" $root | nindent 12 }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- if $files }}
            - {name: files, mountPath: /etc/throng, readOnly: true}
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {sizeLimit: 64Mi}
        {{- if $files }}
        {{- include "throng.filesVolume" $files | nindent 8 }}
        {{- end }}
      {{- range $field := list "nodeSelector" "tolerations" "affinity" }}
      {{- with index $values $field }}
      {{ $field }}:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
{{- end -}}
