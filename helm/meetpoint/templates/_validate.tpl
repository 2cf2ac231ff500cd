{{/* What cannot work together. All of it is said at once, each with the way out. */}}
{{- define "meetpoint.validate" -}}
{{- $values := .Values }}
{{- $relay := $values.relay }}
{{- $wrong := list }}
{{- $onHost := include "meetpoint.hostNetwork" . }}

{{- if eq $values.image.tag "latest" }}
{{- $wrong = append $wrong "image.tag: `latest` is another program tomorrow; name a version, or image.digest" }}
{{- end }}
{{- if and (include "meetpoint.severalWebs" .) (not (include "meetpoint.hasRedis" .)) (not $values.redis.splitRooms) }}
{{- $wrong = append $wrong "redis: several replicas share rooms over Redis only; set redis.url or redis.bundled.enabled, or redis.splitRooms if each may have rooms of its own" }}
{{- end }}
{{- if and $values.secrets.existingSecret $values.secrets.rotation }}
{{- $wrong = append $wrong "secrets.rotation: it rotates the generated Secret; yours (secrets.existingSecret) is rotated by you (docs/kubernetes.md), leave it at 0" }}
{{- end }}
{{- if and $values.redis.url $values.redis.bundled.enabled }}
{{- $wrong = append $wrong "redis: there are two, redis.url and redis.bundled.enabled; keep one" }}
{{- end }}
{{- if contains "@" (regexReplaceAll "^[a-z]+://[^:@/]*@" $values.redis.url "") }}
{{- $wrong = append $wrong "redis.url: a password in it would be readable in the ConfigMap; put it into a Secret and name that in redis.existingSecret" }}
{{- end }}
{{- if and (not $onHost) (include "meetpoint.severalRelays" .) (not $relay.acrossReplicas.podCidrs) }}
{{- $wrong = append $wrong "relay.acrossReplicas.podCidrs: with several replicas behind one balancer two clients may land on two pods, which then have to reach each other; name the cluster's pod networks (kubectl get nodes -o jsonpath='{..podCIDR}', or your network plugin's), or use one replica" }}
{{- end }}
{{- if and $relay.onePort.enabled $relay.tls.enabled }}
{{- $wrong = append $wrong "relay.tls.enabled: relay.onePort serves TLS at its own port; keep one of the two" }}
{{- end }}
{{- if and $relay.onePort.enabled $values.web.separate.enabled }}
{{- $wrong = append $wrong "web.separate.enabled: relay.onePort serves web and relay at one port of one pod; keep one of the two" }}
{{- end }}
{{- if and (include "meetpoint.usesTls" .) (not (include "meetpoint.certificateSecret" .)) }}
{{- $wrong = append $wrong "certificate: relay.tls and relay.onePort need one; set certificate.existingSecret, or certificate.create with an issuer" }}
{{- end }}
{{- if $values.certificate.create }}
{{- if not $values.certificate.issuerRef.name }}
{{- $wrong = append $wrong "certificate.issuerRef.name: which issuer shall make the certificate?" }}
{{- end }}
{{- if not (or $values.certificate.dnsNames $relay.host $values.web.publicUrl) }}
{{- $wrong = append $wrong "certificate.dnsNames: for which names? Set them, or relay.host and web.publicUrl" }}
{{- end }}
{{- end }}
{{- if and $values.web.ingress.enabled (not $values.web.ingress.host) }}
{{- $wrong = append $wrong "web.ingress.host: an Ingress without a host answers for every name" }}
{{- end }}
{{- if and $values.web.gateway.enabled (not $values.web.gateway.parentRefs) }}
{{- $wrong = append $wrong "web.gateway.parentRefs: which Gateway shall the HTTPRoute attach to?" }}
{{- end }}
{{- if $relay.gateway.tlsRoute }}
{{- if not (include "meetpoint.usesTls" .) }}
{{- $wrong = append $wrong "relay.gateway.tlsRoute: there is no port for TLS; set relay.tls.enabled or relay.onePort.enabled" }}
{{- end }}
{{- if not $relay.host }}
{{- $wrong = append $wrong "relay.gateway.tlsRoute: a Gateway tells TLS streams apart by their name; set relay.host" }}
{{- end }}
{{- end }}
{{- if and $relay.gateway.tcpRoute (not $relay.tcp) (not $relay.onePort.enabled) }}
{{- $wrong = append $wrong "relay.gateway.tcpRoute: there is no port for TCP; set relay.tcp" }}
{{- end }}
{{- if $onHost }}
{{- if and (eq $values.hostNetwork.address "probe") (not $values.hostNetwork.probeServers) }}
{{- $wrong = append $wrong "hostNetwork.probeServers: which STUN server shall the nodes ask for their address?" }}
{{- end }}
{{- if and (eq $values.hostNetwork.address "static") (not $relay.externalIp) }}
{{- $wrong = append $wrong "relay.externalIp: hostNetwork.address is `static`, so the address must be said" }}
{{- end }}
{{- if and (ne $values.hostNetwork.address "static") $relay.externalIp }}
{{- $wrong = append $wrong (printf "relay.externalIp: with hostNetwork.address `%s` every node has its own; leave it away, or say `static`" $values.hostNetwork.address) }}
{{- end }}
{{- if and $values.web.separate.enabled (not $relay.host) }}
{{- $wrong = append $wrong "relay.host: with web.separate the list of ICE servers comes from pods that are no relay; name the relays' nodes (a DNS name with all their addresses)" }}
{{- end }}
{{- if $values.autoscaling.enabled }}
{{- $wrong = append $wrong "autoscaling.enabled: a DaemonSet has one pod for each node; add nodes, or use mode `loadBalancer`" }}
{{- end }}
{{- end }}
{{- if and $values.tests.external (eq $values.auth.mode "external") (not (hasKey (default (dict) (default (dict) (fromToml $values.config)).auth) "jwt_secrets_file")) }}
{{- $wrong = append $wrong "tests.external: no token for the list can be made here, since others sign them (auth.mode `external`)" }}
{{- end }}
{{- if and $values.autoscaling.enabled (not (or $values.autoscaling.cpu $values.autoscaling.bandwidth)) }}
{{- $wrong = append $wrong "autoscaling: by what? Set autoscaling.cpu or autoscaling.bandwidth" }}
{{- end }}
{{- if and $relay.service.separateProtocols $relay.onePort.enabled (not $relay.host) }}
{{- $wrong = append $wrong "relay.host: two Services have two addresses; clients need one name for both" }}
{{- end }}
{{- $taken := dict }}
{{- $component := include "meetpoint.relayComponent" . }}
{{- range include "meetpoint.ports" (dict "root" . "component" $component) | fromJsonArray }}
{{- $place := printf "%d/%s" (int .port) .protocol }}
{{- if hasKey $taken $place }}
{{- $wrong = append $wrong (printf "ports: %s and %s both have %s" (get $taken $place) .name $place) }}
{{- end }}
{{- $_ := set $taken $place .name }}
{{- end }}
{{- $own := dict }}
{{- with $values.config }}{{ $own = fromToml . }}{{ end }}
{{- with include "meetpoint.secretsIn" (dict "in" $own "path" "") | trim }}
{{- $wrong = append $wrong (printf "config: %s would be readable in the ConfigMap; put it into a Secret, mount that with extraVolumes, and name its file with `…_file`" (splitList " " . | join ", ")) }}
{{- end }}
{{- if eq $values.auth.mode "external" }}
{{- $judges := list "jwt_secrets_file" "jwt_keys" "jwt_keys_file" "jwks_url" "jwks_url_file" "hook_url" "hook_url_file" }}
{{- $named := false }}
{{- range $judges }}{{ if hasKey (default (dict) $own.auth) . }}{{ $named = true }}{{ end }}{{ end }}
{{- if not $named }}
{{- $wrong = append $wrong (printf "auth.mode: `external` without anybody to ask would be open to everyone; put one of %s into `config` under [auth]" (join ", " $judges)) }}
{{- end }}
{{- end }}
{{- if $wrong }}
{{- fail (printf "\n\nThese values cannot work:\n  - %s\n" (join "\n  - " $wrong)) }}
{{- end }}
{{- end }}

{{/* The paths of secrets that stand in a configuration as they are, with spaces between. Called with in and path. */}}
{{- define "meetpoint.secretsIn" -}}
{{- $path := .path }}
{{- range $key, $value := .in }}
{{- $here := printf "%s%s" $path $key }}
{{- if kindIs "map" $value }}
{{- include "meetpoint.secretsIn" (dict "in" $value "path" (printf "%s." $here)) }}
{{- else if regexMatch "^(.*_)?(secrets?|tokens|users|password)$|^third_party\\.keys$" (ternary $here $key (hasPrefix "third_party." $here)) }}
{{- $here }}{{ " " }}
{{- else if kindIs "slice" $value }}
{{- range $value }}
{{- if kindIs "map" . }}
{{- include "meetpoint.secretsIn" (dict "in" . "path" (printf "%s." $here)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
