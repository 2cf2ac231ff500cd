"""Renders the chart as Helm does, and gives its objects."""

import atexit
import functools
import json
from pathlib import Path

import helm_python
import yaml

from api import Api

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "helm" / "meetpoint"
EXAMPLES = sorted(CHART.glob("examples/*.yaml"))

# Values that no example has together, so that every template is rendered by some test.
MORE = {
    "defaults": {},
    "everything": {
        "commonLabels": {"team": "calls"},
        "commonAnnotations": {"contact": "calls@example.org"},
        "podLabels": {"tier": "edge"},
        "podAnnotations": {"note": "x"},
        "priorityClassName": "high",
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "x", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "image": {"pullSecrets": [{"name": "login"}]},
        "replicaCount": 2,
        "network": {"families": ["IPv4", "IPv6"]},
        "auth": {"audience": "meet", "issuer": "id"},
        "admin": {"enabled": True},
        "web": {
            "publicUrl": "https://meet.example.org",
            "separate": {"enabled": True},
            "service": {"type": "LoadBalancer"},
            "ingress": {"enabled": True, "host": "meet.example.org", "className": "nginx", "annotations": {"a": "b"}},
            "gateway": {"enabled": True, "parentRefs": [{"name": "g"}], "hostnames": ["meet.example.org"]},
        },
        "relay": {
            "host": "turn.example.org",
            "tls": {"enabled": True},
            "proxyProtocolFrom": ["10.0.0.0/8"],
            "externalIp": ["203.0.113.5"],
            "acrossReplicas": {"podCidrs": ["10.244.0.0/16", "fd00::/48"]},
            "service": {
                "separateProtocols": True,
                "loadBalancerIP": "203.0.113.9",
                "loadBalancerSourceRanges": ["0.0.0.0/0"],
                "ipFamilyPolicy": "PreferDualStack",
            },
            "gateway": {"udpRoute": [{"name": "g"}], "tcpRoute": [{"name": "g"}], "tlsRoute": [{"name": "g"}]},
        },
        "certificate": {"create": True, "issuerRef": {"name": "ca"}},
        "redis": {"bundled": {"enabled": True}},
        "autoscaling": {"enabled": True, "bandwidth": "50M"},
        "metrics": {
            "serviceMonitor": {"enabled": True},
            "podMonitor": {"enabled": True},
            "rules": {"enabled": True},
            "dashboards": {"enabled": True},
        },
        "tests": {"external": True},
        "extraEnv": [{"name": "MEETPOINT__LIMITS__ALLOCATIONS", "value": "5000"}],
        "config": "[limits]\nallocations_per_user = 8\n",
    },
    "host-network-443": {
        "mode": "hostNetwork",
        "hostNetwork": {"address": "static"},
        "relay": {"onePort": {"enabled": True, "port": 443}, "externalIp": ["203.0.113.5"], "host": "meet.example.org"},
        "certificate": {"existingSecret": "tls"},
        "redis": {"splitRooms": True},
    },
    "host-network-separate": {
        "mode": "hostNetwork",
        "web": {"separate": {"enabled": True}},
        "relay": {"host": "turn.example.org"},
        "redis": {"url": "redis://redis.example.org:6380"},
    },
    "host-network-probe": {
        "mode": "hostNetwork",
        "hostNetwork": {"address": "probe", "probeServers": ["stun:stun.example.org:3478", "stun:198.51.100.3"]},
        "redis": {"splitRooms": True},
    },
    "ipv6": {"network": {"families": ["IPv6"]}, "admin": {"enabled": True}},
    "one-port-ipv6": {
        "network": {"families": ["IPv6"]},
        "relay": {"onePort": {"enabled": True}},
        "certificate": {"existingSecret": "tls"},
    },
    "open-and-bare": {
        "auth": {"mode": "open"},
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "serviceAccount": {"create": False},
        "tests": {"enabled": False},
        "relay": {"tcp": False},
    },
}

CASES = {path.stem: yaml.safe_load(path.read_text()) for path in EXAMPLES} | MORE


@functools.cache
def _empty_cluster():
    api = Api()
    helm = helm_python.Config(kubeconfig_content=api.kubeconfig, namespace="turn", storage_driver="memory")
    atexit.register(api.close)
    atexit.register(helm.close)
    return helm


def render_text(values, name="demo", namespace="turn", asks_cluster=True):
    """What each template gives at a first install, by its path inside the chart; without asking the cluster as `helm template` does."""
    release = {"name": name, "namespace": namespace, "is_install": True}
    with helm_python.Chart.load(CHART) as chart:
        rendered = _empty_cluster().render(chart, values, **release) if asks_cluster else chart.render(values, **release)
    return {path.removeprefix("meetpoint/templates/"): text for path, text in rendered.items()}


def render(values, **how):
    """All objects."""
    texts = render_text(values, **how)
    return [
        document
        for path, text in texts.items()
        if not path.endswith(".txt")
        for document in yaml.safe_load_all(text)
        if document
    ]


@functools.cache
def _of(case):
    return json.dumps(render(CASES[case]))


def objects(case):
    """All objects of a case; rendered once, given anew."""
    return json.loads(_of(case))


def of_kind(manifests, *kinds):
    return [each for each in manifests if each["kind"] in kinds]


def pods(manifests):
    """(name, labels, spec) of everything that becomes a pod."""
    for each in of_kind(manifests, "Deployment", "DaemonSet", "StatefulSet"):
        template = each["spec"]["template"]
        yield each["metadata"]["name"], template["metadata"]["labels"], template["spec"]
    for each in of_kind(manifests, "Pod"):
        yield each["metadata"]["name"], each["metadata"]["labels"], each["spec"]


def named(manifests, kind, name):
    found = [each for each in of_kind(manifests, kind) if each["metadata"]["name"] == name]
    assert len(found) == 1, f"{kind} {name}: {len(found)}"
    return found[0]


def configuration(manifests):
    """The text of meetpoint.toml."""
    maps = [each for each in of_kind(manifests, "ConfigMap") if "meetpoint.toml" in each["data"]]
    assert len(maps) == 1
    return maps[0]["data"]["meetpoint.toml"]
