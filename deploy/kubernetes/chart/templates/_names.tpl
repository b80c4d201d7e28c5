{{/* The name of all objects: that of the release. */}}
{{- define "vae.name" -}}
{{ .Release.Name | trunc 53 | trimSuffix "-" }}
{{- end }}

{{/* What selects the pods of this release. */}}
{{- define "vae.selector" -}}
app.kubernetes.io/name: vae-service
app.kubernetes.io/instance: {{ include "vae.name" . }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "vae.labels" -}}
{{ include "vae.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* A number as the service reads it: Helm would write 536870912 as 5.36870912e+08. */}}
{{- define "vae.value" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) }}{{ printf "%d" (int64 .) }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* Rights of every container. */}}
{{- define "vae.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
