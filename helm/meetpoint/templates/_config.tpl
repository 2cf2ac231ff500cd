{{/*
Puts the program's configuration into the dict `config`: what the chart says, with `config` of the values over it. Both components get
the same file; what differs between them are variables (see _pod.tpl). Called with root and config; gives no text, since whole numbers
would come out of JSON as fractions.
*/}}
{{- define "meetpoint.fill" -}}
{{- $config := .config }}
{{- with .root }}
{{- $values := .Values }}
{{- $relay := $values.relay }}
{{- $secrets := $values.secrets.keys }}

{{- $http := dict "listen" (include "meetpoint.listen" (dict "root" . "port" $values.web.port) | fromJsonArray) }}
{{- $_ := set $http "cors_origins" $values.web.corsOrigins }}
{{- with $values.web.publicUrl }}{{ $_ := set $http "public_url" . }}{{ end }}
{{- $proxies := $values.web.trustedProxies }}
{{- if kindIs "invalid" $proxies }}
{{- $proxies = ternary (list "10.0.0.0/8" "172.16.0.0/12" "192.168.0.0/16" "100.64.0.0/10" "fc00::/7") (list) (or $values.web.ingress.enabled $values.web.gateway.enabled) }}
{{- end }}
{{- with $proxies }}{{ $_ := set $http "trusted_proxies" . }}{{ end }}
{{- $_ := set $config "http" $http }}

{{- $section := dict "realm" $relay.realm "port_range" $relay.portRange "workers" (int $relay.workers) }}
{{- $_ := set $section "drain_timeout" (printf "%ds" (int $relay.drainSeconds)) }}
{{- $_ := set $section "nonce_secret_file" (printf "/etc/meetpoint/secrets/%s" $secrets.nonce) }}
{{- if $relay.onePort.enabled }}
{{- /* Everything is at the one port; this one is for the pod itself alone. */}}
{{- $_ := set $section "listen" (list (printf "%s:%d" (ternary "127.0.0.1" "[::1]" (has "IPv4" $values.network.families)) (int $relay.port))) }}
{{- $_ := set $section "listen_tcp" "off" }}
{{- else }}
{{- $_ := set $section "listen" (include "meetpoint.listen" (dict "root" . "port" $relay.port) | fromJsonArray) }}
{{- $_ := set $section "listen_tcp" (ternary "same" "off" $relay.tcp) }}
{{- if $relay.tls.enabled }}
{{- $_ := set $section "listen_tls" (include "meetpoint.listen" (dict "root" . "port" $relay.tls.port) | fromJsonArray) }}
{{- end }}
{{- end }}
{{- with $relay.externalIp }}{{ $_ := set $section "external_ip" . }}{{ end }}
{{- $_ := set $config "relay" $section }}

{{- $streams := dict }}
{{- if $relay.onePort.enabled }}
{{- $_ := set $streams "one_port" (include "meetpoint.listen" (dict "root" . "port" $relay.onePort.port) | fromJsonArray) }}
{{- end }}
{{- with $relay.proxyProtocolFrom }}{{ $_ := set $streams "proxy_protocol_from" . }}{{ end }}
{{- with $streams }}{{ $_ := set $config "streams" . }}{{ end }}

{{- if include "meetpoint.usesTls" . }}
{{- $_ := set $config "tls" (dict "certificates" (list "/etc/meetpoint/tls/tls.crt:/etc/meetpoint/tls/tls.key") "reload_interval" "2s") }}
{{- end }}

{{- /* Behind a balancer its ports are what clients need; on the network of the node the listeners' own are. */}}
{{- $ice := dict }}
{{- with $relay.host }}{{ $_ := set $ice "host" (list .) }}{{ end }}
{{- if include "meetpoint.hostNetwork" . }}
{{- if not $relay.host }}{{ $_ := set $ice "relay_addresses" true }}{{ end }}
{{- else }}
{{- if $relay.onePort.enabled }}
{{- range list "port" "tcp_port" "tls_port" }}{{ $_ := set $ice . (int $relay.service.onePort) }}{{ end }}
{{- else }}
{{- $_ := set $ice "port" (int $relay.service.port) }}
{{- if $relay.tcp }}{{ $_ := set $ice "tcp_port" (int $relay.service.port) }}{{ end }}
{{- if $relay.tls.enabled }}{{ $_ := set $ice "tls_port" (int $relay.service.tlsPort) }}{{ end }}
{{- end }}
{{- end }}
{{- with $ice }}{{ $_ := set $config "ice" . }}{{ end }}

{{- /* Many balancers cannot be reached by the pods behind them: a probe of our own address would tell of that alone. Nor can the nodes'
addresses by pods of the web side, which policies keep from private networks. */}}
{{- if or (not (include "meetpoint.hostNetwork" .)) $values.web.separate.enabled }}{{ $_ := set $config "probes" (dict "own" "off") }}{{ end }}

{{- with $relay.acrossReplicas.podCidrs }}{{ $_ := set $config "peers" (dict "allow" .) }}{{ end }}

{{- $_ := set $config "credentials" (dict "secrets_file" (printf "/etc/meetpoint/secrets/%s" $secrets.turn) "ttl" $values.credentials.ttl "max_ttl" $values.credentials.maxTtl) }}

{{- $auth := dict }}
{{- if eq $values.auth.mode "jwt" }}{{ $_ := set $auth "jwt_secrets_file" (printf "/etc/meetpoint/secrets/%s" $secrets.jwt) }}{{ end }}
{{- with $values.auth.audience }}{{ $_ := set $auth "jwt_audience" . }}{{ end }}
{{- with $values.auth.issuer }}{{ $_ := set $auth "jwt_issuer" . }}{{ end }}
{{- with $auth }}{{ $_ := set $config "auth" . }}{{ end }}

{{- if $values.admin.enabled }}
{{- $loopback := ternary "127.0.0.1" "[::1]" (has "IPv4" $values.network.families) }}
{{- $_ := set $config "admin" (dict "tokens_file" (printf "/etc/meetpoint/secrets/%s" $secrets.admin) "listen" (list (printf "%s:%d" $loopback (int $values.admin.port)))) }}
{{- end }}

{{- if include "meetpoint.hasRedis" . }}
{{- $url := default (printf "redis://meetpoint@%s-redis:6379" (include "meetpoint.fullname" .)) $values.redis.url }}
{{- $backplane := dict "redis_url" $url "prefix" $values.redis.prefix }}
{{- if include "meetpoint.hasRedisPassword" . }}
{{- $_ := set $backplane "redis_password_file" (printf "/etc/meetpoint/redis/%s" (include "meetpoint.redisSecretKey" .)) }}
{{- end }}
{{- $_ := set $config "backplane" $backplane }}
{{- end }}

{{- $_ := set $config "metrics" (dict "listen" (include "meetpoint.listen" (dict "root" . "port" $values.metrics.port) | fromJsonArray)) }}
{{- $_ := set $config "log" (dict "level" $values.logLevel "format" "json") }}
{{- with $values.config }}
{{- $own := fromToml . }}
{{- with $own.Error }}{{ fail (printf "config: this is no TOML: %s" .) }}{{ end }}
{{- $_ := mergeOverwrite $config $own }}
{{- end }}
{{- end }}
{{- end }}

{{- define "meetpoint.toml" -}}
{{- $config := dict }}
{{- include "meetpoint.fill" (dict "root" . "config" $config) }}
{{- toToml $config }}
{{- end }}

{{/*
A digest of what a running program does not take over from a changed file: pods are replaced when it changes, and only then. What
`files/live-keys.txt` lists changes in place.
*/}}
{{- define "meetpoint.restartDigest" -}}
{{- $config := dict }}
{{- include "meetpoint.fill" (dict "root" . "config" $config) }}
{{- range .Files.Lines "files/live-keys.txt" }}
{{- $path := splitList "." . }}
{{- if eq (last $path) "*" }}
{{- $_ := unset $config (first $path) }}
{{- else if and (eq (len $path) 2) (hasKey $config (first $path)) }}
{{- $section := get $config (first $path) }}
{{- /* A secret is named by its file: that one is watched as well. */}}
{{- $_ := unset $section (last $path) }}
{{- $_ := unset $section (printf "%s_file" (last $path)) }}
{{- if not $section }}{{ $_ := unset $config (first $path) }}{{ end }}
{{- end }}
{{- end }}
{{- toJson $config | sha256sum }}
{{- end }}
