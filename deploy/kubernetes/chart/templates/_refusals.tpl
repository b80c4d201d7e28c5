{{/* What the schema cannot say in words: values that contradict each other, or are missing. */}}
{{- define "vae.refuse" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" .Release.Name) }}
{{- fail (printf "the release is named %s, but Kubernetes takes no Service of that name: choose one of lower-case letters, digits and hyphens that begins with a letter" (quote .Release.Name)) }}
{{- end }}
{{- if not .Values.image.repository }}
{{- fail "image.repository is not set: push the image that you built of the Dockerfile to a registry, and name it, such as registry.example/vae-service (docs/kubernetes.md)" }}
{{- end }}
{{- if and (not .Values.image.digest) (not .Values.image.tag) }}
{{- fail (printf "image.digest is not set: set it to the sha256:... that `docker buildx imagetools inspect %s:TAG` prints, or for an image that is only loaded onto the nodes set image.tag" .Values.image.repository) }}
{{- end }}
{{- if and .Values.image.digest .Values.image.tag }}
{{- fail (printf "image.digest and image.tag (%s) are both set: the digest alone decides, so leave the tag empty" .Values.image.tag) }}
{{- end }}
{{- if eq .Values.store.kind "sqlite" }}
{{- if gt (int .Values.replicas) 1 }}
{{- fail (printf "replicas is %d, but store.kind is sqlite: a SQLite file belongs to one pod, and a second pod would answer with other collections. Set replicas to 1, or store.kind to postgres" (int .Values.replicas)) }}
{{- end }}
{{- if .Values.autoscaling.enabled }}
{{- fail "autoscaling.enabled is true, but store.kind is sqlite: a SQLite file belongs to one pod, and a second pod would answer with other collections. Set autoscaling.enabled to false, or store.kind to postgres" }}
{{- end }}
{{- end }}
{{- with .Values.store.postgres.readsKey }}
{{- if eq $.Values.store.kind "sqlite" }}
{{- fail (printf "store.postgres.readsKey is %s, but store.kind is sqlite, which has no replica for reads: leave store.postgres.readsKey empty, or set store.kind to postgres" .) }}
{{- end }}
{{- if eq . $.Values.store.postgres.key }}
{{- fail (printf "store.postgres.readsKey and store.postgres.key are both %s, so that reads would go to the same database: name the key with the address of a streaming replica, or leave store.postgres.readsKey empty" .) }}
{{- end }}
{{- end }}
{{- $pods := ternary .Values.autoscaling.maxReplicas .Values.replicas .Values.autoscaling.enabled | int }}
{{- if and (gt $pods 1) (eq (toString .Values.settings.VAE_ADMIN) "true") }}
{{- fail (printf "settings.VAE_ADMIN is true, but there can be %d pods, and /admin changes the models of the one pod that answers: set VAE_ADMIN to false and restart the pods to change models, or have a single pod" $pods) }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- fail (printf "autoscaling.minReplicas (%d) is larger than autoscaling.maxReplicas (%d)" (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- end }}
{{- if and .Values.models.claim .Values.models.image.repository }}
{{- fail (printf "models.claim (%s) and models.image.repository (%s) are both set: the models come from one of them, so leave the other empty" .Values.models.claim .Values.models.image.repository) }}
{{- end }}
{{- if and .Values.models.image.repository (not .Values.models.image.digest) }}
{{- fail (printf "models.image.digest is not set: set it to the sha256:... that `docker buildx imagetools inspect %s:TAG` prints" .Values.models.image.repository) }}
{{- end }}
{{- if eq .Values.image.tag "latest" }}
{{- fail "image.tag is latest, which says nothing about what runs: set image.digest to the sha256:... of the image, or image.tag to a version, such as 0.2.0" }}
{{- end }}
{{- range $name, $_ := .Values.settings }}
{{- with get (include "vae.ofTheChart" $ | fromYaml) $name }}
{{- fail (printf "settings.%s cannot be set, because the chart sets it: remove it, and %s" $name .) }}
{{- end }}
{{- end }}
{{- $names := list }}
{{- range .Values.extraEnv }}
{{- if hasPrefix "VAE_" .name }}
{{- fail (printf "extraEnv has %s, but VAE_* variables are settings of the service: put it under settings" .name) }}
{{- end }}
{{- if has .name $names }}
{{- fail (printf "extraEnv has %s twice: leave one of them out" .name) }}
{{- end }}
{{- if and (hasKey . "value") (hasKey . "valueFrom") }}
{{- fail (printf "extraEnv: %s has value and valueFrom: leave one of them out" .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled (eq (toString .Values.settings.VAE_METRICS) "false") }}
{{- fail "serviceMonitor.enabled is true, but settings.VAE_METRICS is false, so there is nothing to scrape: set one of them to the other's value" }}
{{- end }}
{{- $requests := .Values.resources.requests | default dict }}
{{- $limits := .Values.resources.limits | default dict }}
{{- range $where, $amounts := dict "requests" $requests "limits" $limits }}
{{- if hasKey $amounts "nvidia.com/gpu" }}
{{- fail (printf "resources.%s has nvidia.com/gpu, but the chart sets it from gpu.count, as it sets VAE_DEVICE: remove it, and set gpu.count" $where) }}
{{- end }}
{{- end }}
{{- range $name, $request := $requests }}
{{- with get $limits $name }}
{{- if gt (include "vae.amount" $request | float64) (include "vae.amount" . | float64) }}
{{- fail (printf "resources.requests.%s (%s) is larger than resources.limits.%s (%s): Kubernetes takes no such pod, so set both" $name (include "vae.value" $request) $name (include "vae.value" .)) }}
{{- end }}
{{- end }}
{{- end }}
{{- with $limits.memory }}
{{- $limit := include "vae.amount" . | float64 }}
{{- $own := include "vae.amount" "512Mi" | float64 }}
{{- if lt $limit $own }}
{{- fail (printf "resources.limits.memory is %s, but the service alone takes up to 512Mi with the models in the image, and the pod would be killed: set it to 512Mi or more" (include "vae.value" .)) }}
{{- end }}
{{- $store := $.Values.settings.VAE_STORE_MAX_BYTES | default 4294967296 }}
{{- $workers := $.Values.settings.VAE_WORKERS | default 1 }}
{{- $room := divf (subf $limit $own) (float64 $workers) }}
{{- if and (eq $.Values.store.kind "sqlite") (gt (float64 $store) $room) }}
{{- fail (printf "settings.VAE_STORE_MAX_BYTES is %s, which each of the processes (VAE_WORKERS, %d) may take for vectors, and the service takes up to 512Mi beside them: that is more than resources.limits.memory (%s), so the pod would be killed before the store is full. Set VAE_STORE_MAX_BYTES to at most %.0f, or raise the limit" (include "vae.value" $store) (int $workers) (include "vae.value" .) (floor $room)) }}
{{- end }}
{{- end }}
{{- range $name, $size := dict "store.sqlite.size" .Values.store.sqlite.size "models.image.size" .Values.models.image.size }}
{{- if not (include "vae.amount" $size | float64) }}
{{- fail (printf "%s is %s: a volume needs room, such as 10Gi" $name (include "vae.value" $size)) }}
{{- end }}
{{- end }}
{{- range $name, $peers := dict "networkPolicy.callers" .Values.networkPolicy.callers "store.postgres.peers" .Values.store.postgres.peers }}
{{- range $peers }}
{{- if and .ipBlock (or (hasKey . "podSelector") (hasKey . "namespaceSelector")) }}
{{- fail (printf "%s has a peer with ipBlock and a selector, which Kubernetes refuses: write two peers" $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The settings that the chart sets, and what to do in place of setting them. */}}
{{- define "vae.ofTheChart" -}}
VAE_API_KEYS: name a secret with the file of keys in apiKeys.secret
VAE_API_KEYS_FILE: name a secret with the file of keys in apiKeys.secret
VAE_DEVICE: set gpu.count to 0 for cpu, or to 1 for cuda
VAE_DRAIN_SECONDS: set drainSeconds
VAE_HOST: leave it to the chart, since the probes and the Service of Kubernetes need every address of the pod
VAE_MODELS_DIR: set models.claim or models.image
VAE_PORT: leave it to the chart, since the probes and the Service of Kubernetes use the port 8000
VAE_SHUTDOWN_SECONDS: set shutdownSeconds
VAE_STORE: set store.kind to sqlite or postgres
VAE_STORE_FILE: set store.kind to postgres, and store.postgres.secret
VAE_STORE_READS: name the key of the secret that has the address in store.postgres.readsKey
VAE_STORE_READS_FILE: name the key of the secret that has the address in store.postgres.readsKey
{{- end }}
