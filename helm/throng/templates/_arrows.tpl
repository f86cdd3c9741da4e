{{- /* Who dials whom by gRPC, by component. */ -}}
{{- define "throng.arrows" -}}
edge: [group, router, unread]
group: [group, router, unread]
router: [edge]
unread: [group]
{{- end -}}

{{- define "throng.dnsEgress" -}}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
  {{- with .Values.networkPolicy.dns }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
