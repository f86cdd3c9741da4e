{{- /*
Files that a pod is given from secrets and config maps, and the settings that name them. Each entry of the list:
  setting  of the service, such as jwt_secret_file
  path     below /etc/throng
  secret or configMap, and key: where it comes from
*/ -}}

{{- /* Takes (list $ component). */ -}}
{{- define "throng.files" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $uses := get (fromYaml (include "throng.uses" $root)) $component -}}
{{- if eq $component "edge" }}
{{ include "throng.authFiles" $root }}
{{- end }}
{{- if and (eq $component "group") $root.Values.group.wordList.configMap }}
- {setting: word_list_file, path: words.txt, configMap: {{ $root.Values.group.wordList.configMap }}, key: {{ $root.Values.group.wordList.key }}}
{{- end }}
{{- if has $component (splitList " " (include "throng.services" .)) }}
{{ include "throng.rpcFiles" . }}
{{- end }}
{{- range $kind := $uses }}
{{ include "throng.backendFiles" (list $root $kind) }}
{{- end }}
{{- end -}}

{{- /* Which backends each component uses: the arrows of docs/architecture.md that leave the services. */ -}}
{{- define "throng.uses" -}}
edge: [kafka]
group: [kafka, mysql, redis]
router: [redis]
unread: [mysql, redis]
{{- end -}}

{{- define "throng.authFiles" -}}
{{- $auth := .Values.auth -}}
{{- if $auth.jwtPublicKey.secret }}
- {setting: jwt_public_key_file, path: auth/jwt.pub, secret: {{ $auth.jwtPublicKey.secret }}, key: {{ $auth.jwtPublicKey.key }}}
{{- else if $auth.jwtSecret.secret }}
- {setting: jwt_secret_file, path: auth/jwt, secret: {{ $auth.jwtSecret.secret }}, key: {{ $auth.jwtSecret.key }}}
{{- else if .Values.trial.enabled }}
- {setting: jwt_secret_file, path: auth/jwt, secret: {{ include "throng.trialSecret" . }}, key: jwt}
{{- end }}
{{- if $auth.resumeSecret.secret }}
- {setting: resume_secret_file, path: auth/resume, secret: {{ $auth.resumeSecret.secret }}, key: {{ $auth.resumeSecret.key }}}
{{- end }}
{{- end -}}

{{- /* Takes (list $ component). */ -}}
{{- define "throng.rpcSecret" -}}
{{- $root := index . 0 -}}
{{- ternary (printf "%s-rpc" (include "throng.componentName" .)) $root.Values.rpc.tls.secret $root.Values.rpc.tls.certManager.enabled -}}
{{- end -}}

{{- define "throng.rpcFiles" -}}
{{- $root := index . 0 -}}
{{- $rpc := $root.Values.rpc -}}
{{- if $rpc.tls.enabled }}
{{- $secret := include "throng.rpcSecret" . }}
- {setting: rpc_ca_file, path: rpc/ca.crt, secret: {{ $secret }}, key: ca.crt}
- {setting: rpc_cert_file, path: rpc/tls.crt, secret: {{ $secret }}, key: tls.crt}
- {setting: rpc_key_file, path: rpc/tls.key, secret: {{ $secret }}, key: tls.key}
{{- end }}
{{- if $rpc.token.secret }}
- {setting: rpc_token_file, path: rpc/token, secret: {{ $rpc.token.secret }}, key: {{ $rpc.token.key }}}
{{- end }}
{{- end -}}

{{- /* Takes (list $ kind). */ -}}
{{- define "throng.backendFiles" -}}
{{- $root := index . 0 -}}
{{- $kind := index . 1 -}}
{{- $backend := index $root.Values $kind -}}
{{- if $backend.password.secret }}
- {setting: {{ $kind }}_password_file, path: {{ $kind }}/password, secret: {{ $backend.password.secret }}, key: {{ $backend.password.key }}}
{{- else if and $root.Values.trial.enabled (ne $kind "kafka") }}
- {setting: {{ $kind }}_password_file, path: {{ $kind }}/password, secret: {{ include "throng.trialSecret" $root }}, key: {{ $kind }}}
{{- end }}
{{- if and $backend.tls.enabled $backend.tls.ca.secret }}
- {setting: {{ $kind }}_ca_file, path: {{ $kind }}/ca.crt, secret: {{ $backend.tls.ca.secret }}, key: {{ $backend.tls.ca.key }}}
{{- end }}
{{- with $backend.tls.client }}
{{- if and $backend.tls.enabled .secret }}
- {setting: {{ $kind }}_cert_file, path: {{ $kind }}/tls.crt, secret: {{ .secret }}, key: {{ .certKey }}}
- {setting: {{ $kind }}_key_file, path: {{ $kind }}/tls.key, secret: {{ .secret }}, key: {{ .keyKey }}}
{{- end }}
{{- end }}
{{- end -}}

{{- /* Takes a list of files. The volume that holds them, readable by the container's group alone. */ -}}
{{- define "throng.filesVolume" -}}
{{- $sources := list -}}
- name: files
  projected:
    defaultMode: 0440
    sources:
      {{- range . }}
      {{- $item := dict "key" .key "path" .path }}
      {{- if .secret }}
      - secret: {name: {{ .secret }}, items: [{{ toJson $item }}]}
      {{- else }}
      - configMap: {name: {{ .configMap }}, items: [{{ toJson $item }}]}
      {{- end }}
      {{- end }}
{{- end -}}
