{{- /* Names, labels and ports: every other template takes them from here. */ -}}

{{- define "throng.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "throng.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "throng.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "throng.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Takes (list $ component). */ -}}
{{- define "throng.componentName" -}}
{{- printf "%s-%s" (include "throng.fullname" (index . 0)) (index . 1) -}}
{{- end -}}

{{- /* Takes (list $ component). What selects the pods of a component, and nothing else's. */ -}}
{{- define "throng.selector" -}}
app.kubernetes.io/name: {{ include "throng.name" (index . 0) }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- /* Takes (list $ component). */ -}}
{{- define "throng.labels" -}}
{{- $root := index . 0 -}}
{{ include "throng.selector" . }}
app.kubernetes.io/part-of: throng
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* Port of gRPC, by component. */ -}}
{{- define "throng.grpcPort" -}}
{{- get (dict "edge" "7004" "group" "7001" "router" "7002" "unread" "7003") . -}}
{{- end -}}

{{- define "throng.httpPort" -}}8080{{- end -}}
{{- define "throng.metricsPort" -}}9101{{- end -}}
{{- define "throng.services" -}}edge group router unread{{- end -}}

{{- /* Takes (list $ component). One DNS name that stands for all pods of a component: gRPC resolves it and goes round. */ -}}
{{- define "throng.address" -}}
{{- $root := index . 0 -}}
{{- printf "dns:///%s.%s.svc.%s:%s" (include "throng.componentName" .) $root.Release.Namespace $root.Values.clusterDomain (include "throng.grpcPort" (index . 1)) -}}
{{- end -}}

{{- define "throng.anyAddress" -}}
{{- ternary "::" "0.0.0.0" (eq .Values.ipFamily "IPv6") -}}
{{- end -}}

{{- define "throng.podAddress" -}}
{{- ternary "[$(POD_IP)]" "$(POD_IP)" (eq .Values.ipFamily "IPv6") -}}
{{- end -}}

{{- define "throng.serviceAccountName" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else -}}
{{- ternary (include "throng.fullname" .) "default" .Values.serviceAccount.create -}}
{{- end -}}
{{- end -}}

{{- /* Takes (list $ component). */ -}}
{{- define "throng.image" -}}
{{- $root := index . 0 -}}
{{- $image := $root.Values.image -}}
{{- $name := printf "%s%s-%s" (ternary (printf "%s/" $image.registry) "" (ne $image.registry "")) $image.prefix (index . 1) -}}
{{- $digest := get $image.digests (index . 1) -}}
{{- if $digest -}}
{{- printf "%s@%s" $name $digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default $root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* A setting's value as text: whole numbers without an exponent, lists with commas. */ -}}
{{- define "throng.scalar" -}}
{{- if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}
