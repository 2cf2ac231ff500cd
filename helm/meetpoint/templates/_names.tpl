{{/* Names and labels. */}}

{{- define "meetpoint.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Short enough that `-dashboard-signaling` and the like still fit into the 63 characters of a name. */}}
{{- define "meetpoint.fullname" -}}
{{- $name := include "meetpoint.name" . }}
{{- $default := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $default .Values.fullnameOverride | trunc 42 | trimSuffix "-" }}
{{- end }}

{{- define "meetpoint.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "meetpoint.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* What tells the pods of this release from all others. Called with a dict of root and component; no component is all. */}}
{{- define "meetpoint.selector" -}}
app.kubernetes.io/name: {{ include "meetpoint.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "meetpoint.labels" -}}
{{ include "meetpoint.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Metadata of an object. Called with a dict of root, and optionally component, suffix (or the whole name), labels and annotations. */}}
{{- define "meetpoint.metadata" -}}
name: {{ with .name }}{{ . }}{{ else }}{{ include "meetpoint.fullname" .root }}{{ with .suffix }}-{{ . }}{{ end }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "meetpoint.labels" (dict "root" .root "component" .component) | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with mergeOverwrite (deepCopy .root.Values.commonAnnotations) (default (dict) .annotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The pods that relay, and those that serve the web: the same ones unless web.separate is on. */}}
{{- define "meetpoint.relayComponent" -}}
{{ ternary "relay" "server" .Values.web.separate.enabled }}
{{- end }}
{{- define "meetpoint.webComponent" -}}
{{ ternary "web" "server" .Values.web.separate.enabled }}
{{- end }}

{{- define "meetpoint.image" -}}
{{- $image := .Values.image }}
{{- $repository := $image.repository }}
{{- with $image.registry }}{{ $repository = printf "%s/%s" . $image.repository }}{{ end }}
{{- if $image.digest }}
{{- printf "%s@%s" $repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{/* The Secret with our secrets. */}}
{{- define "meetpoint.secretName" -}}
{{- default (printf "%s-secrets" (include "meetpoint.fullname" .)) .Values.secrets.existingSecret }}
{{- end }}

{{- define "meetpoint.certificateSecret" -}}
{{- if .Values.certificate.create }}
{{- default (printf "%s-tls" (include "meetpoint.fullname" .)) .Values.certificate.existingSecret }}
{{- else }}
{{- .Values.certificate.existingSecret }}
{{- end }}
{{- end }}

{{- define "meetpoint.redisSecret" -}}
{{- default (printf "%s-redis" (include "meetpoint.fullname" .)) .Values.redis.existingSecret }}
{{- end }}

{{/* The key of that. */}}
{{- define "meetpoint.redisSecretKey" -}}
{{- ternary .Values.redis.existingSecretKey "redis-password" (ne .Values.redis.existingSecret "") }}
{{- end }}
