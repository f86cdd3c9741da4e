{{- /*
Jobs before an installation or an upgrade: hooks, each safe to repeat. In a trial the servers come with the same release, so there
the jobs are part of it, one per revision, and try until the servers are there.
*/ -}}

{{- /* Takes (list $ weight). */ -}}
{{- define "throng.hook" -}}
{{- $root := index . 0 -}}
{{- if not $root.Values.trial.enabled }}
annotations:
  helm.sh/hook: pre-install,pre-upgrade
  helm.sh/hook-weight: {{ index . 1 | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
{{- end -}}

{{- /* Takes a dict: root, component, image, command, env, files. */ -}}
{{- define "throng.job" -}}
{{- $root := .root -}}
{{- $names := list $root .component -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "throng.componentName" $names }}{{ if $root.Values.trial.enabled }}-{{ $root.Release.Revision }}{{ end }}
  labels:
    {{- include "throng.labels" $names | nindent 4 }}
  {{- include "throng.hook" (list $root "0") | nindent 2 }}
spec:
  backoffLimit: 20
  activeDeadlineSeconds: {{ int64 $root.Values.jobs.deadlineSeconds }}
  ttlSecondsAfterFinished: 86400
  template:
    metadata:
      labels:
        {{- include "throng.labels" $names | nindent 8 }}
        {{- with $root.Values.pods.labels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      restartPolicy: OnFailure
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- with $root.Values.image.pullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "throng.podSecurity" $root | nindent 8 }}
      containers:
        - name: {{ .component }}
          image: {{ include "throng.image" (list $root "group") }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          command: {{ toJson .command }}
          {{- with .env }}
          env:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          resources:
            {{- toYaml $root.Values.jobs.resources | nindent 12 }}
          securityContext:
            {{- include "throng.containerSecurity" $root | nindent 12 }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- if .files }}
            - {name: files, mountPath: /etc/throng, readOnly: true}
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {sizeLimit: 64Mi}
        {{- if .files }}
        {{- include "throng.filesVolume" .files | nindent 8 }}
        {{- end }}
{{- end -}}
