{{/* The pod of a component: the same in a Deployment and in a DaemonSet. Called with root and component. */}}
{{- define "meetpoint.pod" -}}
{{- $root := .root }}
{{- $values := $root.Values }}
{{- $component := .component }}
{{- $onHost := and (eq $values.mode "hostNetwork") (ne $component "web") }}
{{- $ports := include "meetpoint.ports" . | fromJsonArray }}
{{- $low := false }}
{{- range $ports }}{{ if lt (int .port) 1024 }}{{ $low = true }}{{ end }}{{ end }}
metadata:
  labels:
    {{- /* Not the chart's version: a newer chart alone is no reason for new pods. */}}
    {{- include "meetpoint.selector" . | nindent 4 }}
    # What the Service and the PodMonitor of the metrics look for: Redis and tests have none.
    meetpoint/metrics: "true"
    {{- with mergeOverwrite (deepCopy $values.commonLabels) $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Of what a running program does not take over: the rest, and all secrets, change without new pods.
    checksum/config: {{ include "meetpoint.restartDigest" $root }}
    {{- with mergeOverwrite (deepCopy $values.commonAnnotations) $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "meetpoint.serviceAccountName" $root }}
  automountServiceAccountToken: false
  # Variables of Services begin with the name of the release, as ours do.
  enableServiceLinks: false
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- if $onHost }}
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- end }}
  terminationGracePeriodSeconds: {{ include "meetpoint.gracePeriod" . }}
  securityContext:
    {{- include "meetpoint.podSecurity" $root | nindent 4 }}
  containers:
    - name: meetpoint
      image: {{ include "meetpoint.image" $root }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [serve, --config, /etc/meetpoint/config/meetpoint.toml]
      env:
        {{- include "meetpoint.env" (dict "root" $root "component" $component "onHost" $onHost) | nindent 8 }}
      ports:
        {{- range $ports }}
        - name: {{ .name }}
          containerPort: {{ int .port }}
          protocol: {{ .protocol }}
        {{- end }}
      {{- include "meetpoint.probes" $root | nindent 6 }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ int $values.shutdown.preStopSeconds }}
      resources:
        {{- toYaml (ternary $values.web.separate.resources $values.resources (eq $component "web")) | nindent 8 }}
      securityContext:
        {{- $capabilities := dict "drop" (list "ALL") }}
        {{- if $low }}{{ $_ := set $capabilities "add" (list "NET_BIND_SERVICE") }}{{ end }}
        {{- /* A capability of the program's file counts only where a process may get more rights: no other one is within its reach. */}}
        {{- $defaults := dict "allowPrivilegeEscalation" $low "readOnlyRootFilesystem" true "capabilities" $capabilities }}
        {{- toYaml (mergeOverwrite $defaults (deepCopy $values.securityContext)) | nindent 8 }}
      volumeMounts:
        {{- include "meetpoint.mounts" $root | nindent 8 }}
  volumes:
    {{- include "meetpoint.volumes" $root | nindent 4 }}
  {{- with mergeOverwrite (deepCopy $values.nodeSelector) (ternary (deepCopy $values.hostNetwork.nodeSelector) (dict) $onHost) }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if not $onHost }}
  topologySpreadConstraints:
    {{- if kindIs "invalid" $values.topologySpreadConstraints }}
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "meetpoint.selector" . | nindent 10 }}
    {{- else }}
    {{- toYaml $values.topologySpreadConstraints | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end }}

{{/* Of every pod, also of Redis and of `helm test`: a cluster with users of its own (OpenShift) wants the same for all. */}}
{{- define "meetpoint.podSecurity" -}}
{{- $defaults := dict "runAsNonRoot" true "runAsUser" 65532 "runAsGroup" 65532 "fsGroup" 65532 "seccompProfile" (dict "type" "RuntimeDefault") }}
{{- toYaml (mergeOverwrite $defaults (deepCopy .Values.podSecurityContext)) }}
{{- end }}

{{- define "meetpoint.env" -}}
{{- $values := .root.Values }}
# Told to clients of the hub, and in the log: which pod they are at.
- name: MEETPOINT__SIGNALING__NODE
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- if .onHost }}
- name: NODE_ADDRESS
  valueFrom:
    fieldRef:
      fieldPath: status.hostIP
{{- $bound := ternary "$(NODE_ADDRESS)" "[$(NODE_ADDRESS)]" (eq (first $values.network.families) "IPv4") }}
# On the network of the node: what is for the cluster is not at its other addresses.
- name: MEETPOINT__METRICS__LISTEN
  value: "{{ $bound }}:{{ int $values.metrics.port }}"
- name: MEETPOINT__HTTP__LISTEN
  {{- if eq .component "relay" }}
  value: "127.0.0.1:{{ int $values.web.port }}"
  {{- else }}
  value: "{{ $bound }}:{{ int $values.web.port }}"
  {{- end }}
{{- if eq $values.hostNetwork.address "nodeIP" }}
- name: MEETPOINT__RELAY__EXTERNAL_IP
  value: $(NODE_ADDRESS)
{{- else if eq $values.hostNetwork.address "probe" }}
- name: MEETPOINT__RELAY__EXTERNAL_IP_FROM
  value: {{ join "," $values.hostNetwork.probeServers | quote }}
{{- end }}
{{- end }}
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
Readiness asks whether the process serves, not whether it takes new clients: a pod that is ending is out of every Service by that alone,
while one that also turns unready loses its UDP flows, because kube-proxy then forgets where they led. What has not started yet is
kept out by the startup probe, which asks for more.
*/}}
{{- define "meetpoint.probes" -}}
{{- $probe := dict "httpGet" (dict "path" "/healthz" "port" "metrics") "periodSeconds" 10 "timeoutSeconds" 3 "failureThreshold" 3 }}
{{- $startup := mergeOverwrite (deepCopy $probe) (dict "httpGet" (dict "path" "/readyz") "periodSeconds" 1 "failureThreshold" 60) }}
{{- $readiness := mergeOverwrite (deepCopy $probe) (dict "periodSeconds" 5) }}
startupProbe:
  {{- toYaml (mergeOverwrite $startup (deepCopy (default (dict) .Values.probes.startup))) | nindent 2 }}
readinessProbe:
  {{- toYaml (mergeOverwrite $readiness (deepCopy (default (dict) .Values.probes.readiness))) | nindent 2 }}
livenessProbe:
  {{- toYaml (mergeOverwrite (deepCopy $probe) (deepCopy (default (dict) .Values.probes.liveness))) | nindent 2 }}
{{- end }}

{{/* Directories, never single files: only those change when their object does. */}}
{{- define "meetpoint.mounts" -}}
- name: config
  mountPath: /etc/meetpoint/config
  readOnly: true
- name: secrets
  mountPath: /etc/meetpoint/secrets
  readOnly: true
{{- if include "meetpoint.usesTls" . }}
- name: tls
  mountPath: /etc/meetpoint/tls
  readOnly: true
{{- end }}
{{- if include "meetpoint.hasRedisPassword" . }}
- name: redis
  mountPath: /etc/meetpoint/redis
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "meetpoint.volumes" -}}
{{- $keys := list .Values.secrets.keys.turn .Values.secrets.keys.nonce }}
{{- if eq .Values.auth.mode "jwt" }}{{ $keys = append $keys .Values.secrets.keys.jwt }}{{ end }}
{{- if .Values.admin.enabled }}{{ $keys = append $keys .Values.secrets.keys.admin }}{{ end }}
- name: config
  configMap:
    name: {{ include "meetpoint.fullname" . }}
- name: secrets
  secret:
    secretName: {{ include "meetpoint.secretName" . }}
    # For the group of the pod (fsGroup) and nobody else.
    defaultMode: 0440
    items:
      {{- range $keys }}
      - key: {{ . }}
        path: {{ . }}
      {{- end }}
{{- if include "meetpoint.usesTls" . }}
- name: tls
  secret:
    secretName: {{ include "meetpoint.certificateSecret" . }}
    defaultMode: 0440
{{- end }}
{{- if include "meetpoint.hasRedisPassword" . }}
{{- $key := include "meetpoint.redisSecretKey" . }}
- name: redis
  secret:
    secretName: {{ include "meetpoint.redisSecret" . }}
    defaultMode: 0440
    items:
      - key: {{ $key }}
        path: {{ $key }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
