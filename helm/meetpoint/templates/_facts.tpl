{{/* What follows from several values together. Truths are "true" or nothing. */}}

{{- define "meetpoint.hostNetwork" -}}{{ if eq .Values.mode "hostNetwork" }}true{{ end }}{{- end }}

{{- define "meetpoint.hasRedis" -}}{{ if or .Values.redis.url .Values.redis.bundled.enabled }}true{{ end }}{{- end }}

{{- define "meetpoint.hasRedisPassword" -}}{{ if or .Values.redis.existingSecret .Values.redis.bundled.enabled }}true{{ end }}{{- end }}

{{- define "meetpoint.usesTls" -}}{{ if or .Values.relay.tls.enabled .Values.relay.onePort.enabled }}true{{ end }}{{- end }}

{{/* Whether several pods may hold rooms. */}}
{{- define "meetpoint.severalWebs" -}}
{{- if .Values.web.separate.enabled }}
{{- if gt (int .Values.web.separate.replicaCount) 1 }}true{{ end }}
{{- else }}
{{- include "meetpoint.severalRelays" . }}
{{- end }}
{{- end }}

{{- define "meetpoint.severalRelays" -}}
{{- if or (include "meetpoint.hostNetwork" .) .Values.autoscaling.enabled (gt (int .Values.replicaCount) 1) }}true{{ end }}
{{- end }}

{{/* Of a name or URL: the host. */}}
{{- define "meetpoint.hostOf" -}}
{{- if contains "://" . }}{{ regexReplaceAll ":[0-9]+$" (urlParse .).host "" }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* Addresses to listen at, as a JSON list in a dict. Called with root and port. */}}
{{- define "meetpoint.listen" -}}
{{- $port := int .port }}
{{- $all := list }}
{{- range .root.Values.network.families }}
{{- $all = append $all (printf "%s:%d" (ternary "[::]" "0.0.0.0" (eq . "IPv6")) $port) }}
{{- end }}
{{- toJson $all }}
{{- end }}

{{/*
The ports of a pod: a JSON list of name, port, protocol. Everything else about ports is made from it: what the container has, what
Services lead to, what policies let in, and whether a capability is needed. Called with root and component.
*/}}
{{- define "meetpoint.ports" -}}
{{- $values := .root.Values }}
{{- $relay := $values.relay }}
{{- $ports := list (dict "name" "metrics" "port" (int $values.metrics.port) "protocol" "TCP") }}
{{- if ne .component "relay" }}
{{- $ports = append $ports (dict "name" "http" "port" (int $values.web.port) "protocol" "TCP") }}
{{- end }}
{{- if ne .component "web" }}
{{- if $relay.onePort.enabled }}
{{- $ports = append $ports (dict "name" "one-tcp" "port" (int $relay.onePort.port) "protocol" "TCP") }}
{{- $ports = append $ports (dict "name" "one-udp" "port" (int $relay.onePort.port) "protocol" "UDP") }}
{{- else }}
{{- $ports = append $ports (dict "name" "turn-udp" "port" (int $relay.port) "protocol" "UDP") }}
{{- if $relay.tcp }}
{{- $ports = append $ports (dict "name" "turn-tcp" "port" (int $relay.port) "protocol" "TCP") }}
{{- end }}
{{- if $relay.tls.enabled }}
{{- $ports = append $ports (dict "name" "turns" "port" (int $relay.tls.port) "protocol" "TCP") }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $ports }}
{{- end }}

{{/*
Seconds from the decision that a pod ends to the kill: the wait before the signal, living allocations, open requests
(http.drain_timeout), webhooks (events.flush_timeout), and a margin for the farewells in between.
*/}}
{{- define "meetpoint.gracePeriod" -}}
{{- $drain := ternary 0 (int .root.Values.relay.drainSeconds) (eq .component "web") }}
{{- add (int .root.Values.shutdown.preStopSeconds) $drain 10 5 15 }}
{{- end }}

{{/*
Whether the cluster can be asked: a list of Secrets is an object, with or without any in it, and where nobody is asked nothing comes
back. Helm lists them itself, since its releases are some.
*/}}
{{- define "meetpoint.asksCluster" -}}
{{ if lookup "v1" "Secret" .Release.Namespace "" }}true{{ end }}
{{- end }}

{{/* A duration as the program reads it, such as 12h, in seconds. */}}
{{- define "meetpoint.seconds" -}}
{{- $units := dict "ms" 0 "s" 1 "m" 60 "h" 3600 "d" 86400 }}
{{- $sum := 0 }}
{{- range regexFindAll "[0-9]+(ms|s|m|h|d)" (toString .) -1 }}
{{- $sum = add $sum (mul (regexFind "^[0-9]+" . | int64) (get $units (regexFind "[a-z]+$" .))) }}
{{- end }}
{{- $sum }}
{{- end }}
