"""Schemas of the kinds that clusters do not have by themselves: the fields that the chart writes, and no other. From the pages of
the Prometheus Operator (monitoring.coreos.com/v1), cert-manager (v1) and the Gateway API (v1, v1alpha2)."""

STRING = {"type": "string", "minLength": 1}
STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
DURATION = {"type": "string", "pattern": r"^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$"}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
HOSTNAME = {"type": "string", "maxLength": 253, "pattern": r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"}


def exactly(required, **properties):
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def many(items, **more):
    return {"type": "array", "items": items, **more}


SELECTOR = exactly([], matchLabels=STRINGS)
ENDPOINT = exactly(["port"], port=STRING, path=STRING, interval=DURATION)
RULE = exactly(
    ["expr"],
    alert=STRING,
    record={"type": "string", "pattern": "^[a-zA-Z_:][a-zA-Z0-9_:]*$"},
    expr={"type": ["string", "integer"]},
    labels=STRINGS,
    annotations=STRINGS,
    keep_firing_for=DURATION,
    **{"for": DURATION},
)
GROUP = exactly(["name", "rules"], name=STRING, interval=DURATION, rules=many(RULE), labels=STRINGS, limit={"type": "integer"})
PARENT = exactly(["name"], name=STRING, namespace=STRING, sectionName=STRING, port=PORT, group=STRING, kind=STRING)
BACKEND = exactly(["name", "port"], name=STRING, port=PORT)
PATH = exactly([], type={"enum": ["Exact", "PathPrefix", "RegularExpression"]}, value={"type": "string", "pattern": "^/"})


def route(*, hostnames, matches, named=False):
    rule = {"backendRefs": many(BACKEND, minItems=1)}
    if matches:
        rule["matches"] = many(exactly([], path=PATH))
    spec = {"parentRefs": many(PARENT, minItems=1, maxItems=32), "rules": many(exactly([], **rule), minItems=1)}
    if hostnames:
        spec["hostnames"] = many(HOSTNAME, minItems=1)
    return exactly(["parentRefs", "rules", *(["hostnames"] if named else [])], **spec)


SPECS = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): exactly(["selector", "endpoints"], selector=SELECTOR, endpoints=many(ENDPOINT, minItems=1)),
    ("monitoring.coreos.com/v1", "PodMonitor"): exactly(
        ["selector", "podMetricsEndpoints"], selector=SELECTOR, podMetricsEndpoints=many(ENDPOINT, minItems=1)
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): exactly([], groups=many(GROUP)),
    ("cert-manager.io/v1", "Certificate"): exactly(
        ["secretName", "issuerRef"],
        secretName=STRING,
        dnsNames=many(HOSTNAME, minItems=1),
        ipAddresses=many(STRING, minItems=1),
        issuerRef=exactly(["name"], name=STRING, kind={"enum": ["Issuer", "ClusterIssuer"]}, group=STRING),
        privateKey=exactly(
            [],
            algorithm={"enum": ["RSA", "ECDSA", "Ed25519"]},
            size={"type": "integer"},
            rotationPolicy={"enum": ["Never", "Always"]},
        ),
    ),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): route(hostnames=True, matches=True),
    ("gateway.networking.k8s.io/v1", "TLSRoute"): route(hostnames=True, matches=False, named=True),
    ("gateway.networking.k8s.io/v1alpha2", "TLSRoute"): route(hostnames=True, matches=False),
    ("gateway.networking.k8s.io/v1alpha2", "TCPRoute"): route(hostnames=False, matches=False),
    ("gateway.networking.k8s.io/v1alpha2", "UDPRoute"): route(hostnames=False, matches=False),
}


def schema(manifest):
    """The schema of a whole object of one of these kinds, or nothing."""
    spec = SPECS.get((manifest["apiVersion"], manifest["kind"]))
    if spec is None:
        return None
    metadata = exactly(["name", "namespace"], name=STRING, namespace=STRING, labels=STRINGS, annotations=STRINGS)
    return exactly(["apiVersion", "kind", "metadata", "spec"], apiVersion=STRING, kind=STRING, metadata=metadata, spec=spec)
