{{/* The name of all objects: that of the release. */}}
{{- define "vae.name" -}}
{{ .Release.Name | trunc 53 | trimSuffix "-" }}
{{- end }}

{{/* What selects the pods of this release. */}}
{{- define "vae.selector" -}}
app.kubernetes.io/name: vae-service
app.kubernetes.io/instance: {{ include "vae.name" . | quote }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "vae.labels" -}}
{{ include "vae.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* A number as the service reads it: Helm would write 536870912 as 5.36870912e+08. */}}
{{- define "vae.value" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) }}{{ printf "%.0f" . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* Rights of every container. */}}
{{- define "vae.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* A quantity of Kubernetes, such as 500m or 2Gi, as a number that can be compared. */}}
{{- define "vae.amount" -}}
{{- $text := include "vae.value" . }}
{{- $units := dict "n" 1e-9 "u" 1e-6 "m" 1e-3 "" 1.0 "k" 1e3 "K" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0 }}
{{- printf "%.9f" (mulf (regexFind "^[0-9.]+" $text | float64) (get $units (regexFind "[a-zA-Z]*$" $text))) }}
{{- end }}
