{{/* What the schema cannot say in words: values that contradict each other, or are missing. */}}
{{- define "vae.refuse" -}}
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
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- fail (printf "autoscaling.minReplicas (%d) is larger than autoscaling.maxReplicas (%d)" (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- end }}
{{- if and .Values.models.claim .Values.models.image.repository }}
{{- fail (printf "models.claim (%s) and models.image.repository (%s) are both set: the models come from one of them, so leave the other empty" .Values.models.claim .Values.models.image.repository) }}
{{- end }}
{{- if and .Values.models.image.repository (not .Values.models.image.digest) }}
{{- fail (printf "models.image.digest is not set: set it to the sha256:... that `docker buildx imagetools inspect %s:TAG` prints" .Values.models.image.repository) }}
{{- end }}
{{- end }}
