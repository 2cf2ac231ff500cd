"""What a cluster refuses, ignores or breaks although every schema is kept."""

import base64
import gzip
import ipaddress
import json
import re

import helm_python
import pytest
import yaml

from api import Api
from chart import CASES, CHART, ROOT, named, objects, of_kind, pods, render, render_text

every_case = pytest.mark.parametrize("case", sorted(CASES))


def is_on_host(case):
    return CASES[case].get("mode") == "hostNetwork"


@every_case
def test_names_of_ports_and_values_of_labels_are_ones_that_the_api_takes(case):
    for manifest in objects(case):
        metadata = manifest["metadata"]
        assert len(metadata["name"]) <= (52 if manifest["kind"] == "StatefulSet" else 63), "its pods carry it in a label, with a digest"
        for key, value in metadata["labels"].items():
            assert re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", value), f"{key}: {value}"
    for service in of_kind(objects(case), "Service"):
        ports = service["spec"]["ports"]
        assert len({(port["port"], port["protocol"]) for port in ports}) == len({port["name"] for port in ports}) == len(ports)
        assert service["spec"].get("type", "ClusterIP") != "ClusterIP" or "externalTrafficPolicy" not in service["spec"]
    for name, _, spec in pods(objects(case)):
        ports = [port for container in spec["containers"] for port in container.get("ports", [])]
        assert len({port["name"] for port in ports}) == len(ports), name
        for port in ports:
            assert re.fullmatch(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?", port["name"]) and "--" not in port["name"]
        for container in spec["containers"]:
            sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {"seconds": 1})["seconds"]
            assert 0 < sleep < spec.get("terminationGracePeriodSeconds", 30), name


@every_case
def test_a_namespace_that_enforces_the_restricted_standard_takes_all_pods_but_those_on_the_network_of_nodes(case):
    for name, labels, spec in pods(objects(case)):
        on_host = is_on_host(case) and labels["app.kubernetes.io/component"] in ("server", "relay")
        assert spec.get("hostNetwork", False) == on_host, name
        assert not {"hostPID", "hostIPC"} & spec.keys()
        kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"configMap", "secret", "emptyDir"}, name
        if on_host:
            continue
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False and security["capabilities"] == {"drop": ["ALL"]}, name
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"


def test_a_cluster_with_users_of_its_own_gets_them_in_every_pod():
    manifests = render({"podSecurityContext": {"runAsUser": 1000650000, "fsGroup": 1000650000}, "redis": {"bundled": {"enabled": True}}})
    found = {name: spec["securityContext"] for name, _, spec in pods(manifests)}
    assert len(found) == 3
    for security in found.values():
        assert security["runAsUser"] == security["fsGroup"] == 1000650000 and security["runAsNonRoot"] is True


@every_case
def test_the_pod_of_helm_test_runs_where_the_others_do_and_its_log_is_there_to_be_read(case):
    for pod in of_kind(objects(case), "Pod"):
        # What is deleted when it has succeeded is gone before `helm test --logs` reads it.
        assert pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation"
        values = CASES[case]
        assert pod["spec"].get("nodeSelector", {}) == values.get("nodeSelector", {})
        assert pod["spec"].get("tolerations", []) == values.get("tolerations", [])


@pytest.mark.parametrize(
    ("auth", "tested"),
    [
        ({}, ["relay", "web"]),
        ({"auth": {"mode": "open"}}, ["relay", "web"]),
        ({"auth": {"mode": "external"}, "config": '[auth]\njwks_url = "https://id.example.org/jwks"'}, ["relay"]),
        ({"auth": {"mode": "external"}, "config": '[auth]\njwt_secrets_file = "/etc/meetpoint/own/jwt"'}, ["relay", "web"]),
    ],
)
def test_helm_test_asks_for_nothing_that_it_can_make_no_token_for(auth, tested):
    (pod,) = of_kind(render(auth), "Pod")
    assert [container["name"] for container in pod["spec"]["containers"]] == tested


@every_case
def test_who_is_told_an_address_with_https_finds_a_certificate_there_or_is_told_that_there_is_none(case):
    manifests = objects(case)
    for ingress in of_kind(manifests, "Ingress"):
        if ingress["spec"].get("ingressClassName") != "alb":
            assert ingress["spec"]["tls"], "the examples lead to a page that browsers take"
    values = {"web": {"publicUrl": "https://meet.example.org", "ingress": {"enabled": True, "host": "meet.example.org"}}}
    assert "names no certificate" in render_text(values)["NOTES.txt"]
    values["web"]["ingress"]["tlsSecret"] = "tls"
    assert "names no certificate" not in render_text(values)["NOTES.txt"]


def test_a_service_without_a_balancer_has_its_step_in_the_notes():
    assert "let a balancer of yours lead to them" in render_text({"relay": {"service": {"type": "NodePort"}}})["NOTES.txt"]
    assert "which address the balancer got" in render_text({})["NOTES.txt"]
    assert "balancer" not in render_text({"relay": {"service": {"type": "ClusterIP"}}})["NOTES.txt"]


@every_case
def test_no_policy_is_about_pods_on_the_network_of_a_node(case):
    manifests = objects(case)
    on_host = [labels for _, labels, spec in pods(manifests) if spec.get("hostNetwork")]
    for policy in of_kind(manifests, "NetworkPolicy"):
        selector = policy["spec"]["podSelector"]["matchLabels"].items()
        assert not any(selector <= labels.items() for labels in on_host), "their relay ports would be closed, where it is enforced"


class World:
    """NetworkPolicies as plugins enforce them: pods of the release by component, and everything else by address or namespace."""

    def __init__(self, manifests):
        self.policies = of_kind(manifests, "NetworkPolicy")
        self.labels = {labels["app.kubernetes.io/component"]: labels for _, labels, _ in pods(manifests)}

    def matches(self, selector, labels):
        inside = {"In": lambda value, values: value in values}
        return labels is not None and selector.get("matchLabels", {}).items() <= labels.items() and all(
            inside[each["operator"]](labels.get(each["key"]), each["values"]) for each in selector.get("matchExpressions", [])
        )

    def let(self, direction, component, other, port, protocol):
        """`other` is a component, an address, or `*`: a pod of another namespace."""
        about = [each["spec"] for each in self.policies if self.matches(each["spec"]["podSelector"], self.labels[component])]
        about = [spec for spec in about if direction in spec["policyTypes"]]
        rules = [rule for spec in about for rule in spec.get(direction.lower(), [])]
        return not about or any(self.allows(rule, direction, other, port, protocol) for rule in rules)

    def allows(self, rule, direction, other, port, protocol):
        ports = rule.get("ports")
        if ports and not any(each["port"] <= port <= each.get("endPort", each["port"]) and each["protocol"] == protocol for each in ports):
            return False
        peers = rule.get("from" if direction == "Ingress" else "to")
        return not peers or any(self.is_peer(peer, other) for peer in peers)

    def is_peer(self, peer, other):
        if "ipBlock" in peer:
            try:
                address = ipaddress.ip_address(other)
            except ValueError:
                return False
            block = peer["ipBlock"]
            return address in ipaddress.ip_network(block["cidr"]) and not any(address in ipaddress.ip_network(each) for each in block.get("except", []))
        if "namespaceSelector" in peer:
            return other == "*" or other in self.labels
        return self.matches(peer["podSelector"], self.labels.get(other))

    def may_talk(self, one, other, port, protocol):
        return self.let("Egress", one, other, port, protocol) and self.let("Ingress", other, one, port, protocol)


@pytest.mark.parametrize("case", ["one", "separate"])
def test_policies_let_through_what_is_needed_and_keep_relays_out_of_the_cluster(case):
    values = {
        "replicaCount": 2,
        "redis": {"bundled": {"enabled": True}},
        "relay": {"host": "turn.example.org", "tls": {"enabled": True}, "portRange": "50000-50100", "acrossReplicas": {"podCidrs": ["10.244.0.0/16"]}},
        "certificate": {"existingSecret": "tls"},
        "web": {"separate": {"enabled": case == "separate"}},
    }
    world = World(render(values))
    relay, web = ("relay", "web") if case == "separate" else ("server", "server")
    for address in ("198.51.100.7", "10.0.3.4", "2001:db8::1"):
        for port, protocol in [(3478, "UDP"), (3478, "TCP"), (5349, "TCP")]:
            assert world.let("Ingress", relay, address, port, protocol), "clients, whatever a balancer makes of their address"
        assert world.let("Ingress", web, address, 8000, "TCP")
    for component in {relay, web}:
        assert world.let("Ingress", component, "*", 9478, "TCP") and not world.let("Ingress", component, "198.51.100.7", 9478, "TCP")
        assert world.may_talk(component, "redis", 6379, "TCP")
        for protocol in ("UDP", "TCP"):
            assert world.let("Egress", component, "10.96.0.10", 53, protocol) and world.let("Egress", component, "169.254.20.10", 53, protocol)
        assert world.let("Egress", component, "198.51.100.9", 443, "TCP"), "webhooks and key sets"
    # Peers: on the internet, and at the ports of the other relays.
    assert world.let("Egress", relay, "198.51.100.9", 40000, "UDP") and world.let("Egress", relay, "2001:db8::9", 40000, "UDP")
    assert world.may_talk(relay, relay, 50050, "UDP")
    # The API of the cluster, metadata of the cloud, pods of others, Redis by UDP: not with any credential.
    for address, port, protocol in [("10.96.0.1", 443, "TCP"), ("10.96.0.1", 443, "UDP"), ("169.254.169.254", 80, "TCP"), ("fd00::1", 443, "TCP")]:
        assert not world.let("Egress", relay, address, port, protocol)
    assert not world.let("Egress", relay, "*", 8080, "UDP") and not world.may_talk(relay, "redis", 50050, "UDP")
    assert not world.may_talk(relay, relay, 9478, "UDP")
    # Redis: for us alone, and it begins nothing.
    for stranger in ("*", "10.0.3.4", "198.51.100.7"):
        assert not world.let("Ingress", "redis", stranger, 6379, "TCP")
    assert world.may_talk("test", "redis", 6379, "TCP") and world.may_talk("test", relay, 3478, "UDP") and world.may_talk("test", web, 8000, "TCP")
    assert not world.let("Egress", "redis", "198.51.100.7", 443, "TCP")
    if case == "separate":
        assert not world.let("Ingress", relay, "*", 8000, "TCP") and not world.let("Ingress", web, "*", 3478, "UDP")


def test_relays_on_the_network_of_nodes_reach_the_redis_of_the_release():
    values = {"mode": "hostNetwork", "redis": {"bundled": {"enabled": True}}}

    def who_may_come(values):
        (rule,) = named(render(values), "NetworkPolicy", "demo-meetpoint-redis")["spec"]["ingress"]
        return rule.get("from")

    assert who_may_come(values) is None, "they come from addresses of nodes, which no selector finds"
    named_nodes = who_may_come(values | {"networkPolicy": {"nodes": ["10.0.0.0/16"]}})
    assert {"ipBlock": {"cidr": "10.0.0.0/16"}} in named_nodes and len(named_nodes) == 2
    (alone,) = who_may_come({"redis": {"bundled": {"enabled": True}}})
    assert "podSelector" in alone


L4 = ["TLSRoute", "TCPRoute", "UDPRoute"]


def versions_of(routes):
    return {each["kind"]: each["apiVersion"].split("/")[1] for each in routes if each["kind"] in L4}


@pytest.mark.parametrize(
    ("served", "used"),
    [
        ({"v1alpha2": L4, "v1": []}, ["v1alpha2", "v1alpha2", "v1alpha2"]),
        ({"v1alpha2": L4, "v1": ["TLSRoute"]}, ["v1", "v1alpha2", "v1alpha2"]),
        ({"v1alpha2": ["UDPRoute"], "v1alpha3": ["TLSRoute"], "v1": ["TCPRoute"]}, ["v1alpha3", "v1", "v1alpha2"]),
    ],
)
def test_routes_are_of_the_newest_version_that_the_cluster_has(served, used):
    served = served | {"v1": [*served["v1"], "HTTPRoute"]}
    kinds = {f"gateway.networking.k8s.io/{version}": {f"{kind.lower()}s": kind for kind in names} for version, names in served.items()}
    api = Api(kinds)
    try:
        with helm_python.Config(kubeconfig_content=api.kubeconfig, namespace="turn", storage_driver="memory") as helm:
            helm.install(CHART, "demo", CASES["gateway-api"])
        assert versions_of(api.objects.values()) == dict(zip(L4, used))
    finally:
        api.close()


def test_routes_are_of_the_versions_of_today_where_nobody_can_be_asked():
    routes = render(CASES["gateway-api"], asks_cluster=False)
    assert versions_of(routes) == {"TLSRoute": "v1", "TCPRoute": "v1alpha2", "UDPRoute": "v1alpha2"}


def test_a_certificate_for_an_address_asks_for_an_address():
    values = {"certificate": {"create": True, "issuerRef": {"name": "ca"}}, "relay": {"tls": {"enabled": True}}}
    for host in ("203.0.113.5", "2001:db8::5"):
        values["relay"]["host"] = host
        (made,) = of_kind(render(values | {"web": {"publicUrl": "https://meet.example.org"}}), "Certificate")
        assert made["spec"]["ipAddresses"] == [host] and made["spec"]["dnsNames"] == ["meet.example.org"]


def test_a_service_account_with_a_name_of_its_own_keeps_its_labels():
    manifests = render({"serviceAccount": {"name": "turner"}}, name="meetpoint")
    account = named(manifests, "ServiceAccount", "turner")
    assert account["metadata"]["labels"]["app.kubernetes.io/name"] == "meetpoint"
    assert {spec["serviceAccountName"] for _, _, spec in pods(manifests)} == {"turner"}


def test_the_rule_of_the_page_gives_the_metric_that_the_autoscaler_asks_for():
    page = (ROOT / "docs/kubernetes.md").read_text()
    (text,) = [block for block in re.findall(r"```yaml\n(.*?)```", page, re.S) if "seriesQuery" in block]
    (rule,) = yaml.safe_load(text)["rules"]
    series = re.match(r"\w+", rule["seriesQuery"])[0]
    table = (ROOT / "docs/metrics.md").read_text()
    assert f"| `{series}` | counter |" in table and "rate(" in rule["metricsQuery"]
    (scaler,) = of_kind(objects("replicas"), "HorizontalPodAutoscaler")
    (metric,) = [each["pods"] for each in scaler["spec"]["metrics"] if each["type"] == "Pods"]
    assert metric["metric"]["name"] == rule["name"]["as"]
    # What says which pod a number is of comes from the monitor, not from the program.
    assert set(rule["resources"]["overrides"]) == {"namespace", "pod"}
    # Of a share of what is asked for: without a request there is none.
    (workload,) = of_kind(objects("replicas"), "Deployment")
    assert "cpu" in workload["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]


def test_the_limit_of_memory_is_room_for_the_default_bounds_under_tls():
    reference = (ROOT / "docs/configuration.md").read_text()

    def default(key):
        return int(re.search(rf"### `{key}`\n.*?default: `(\d+)`", reference, re.S)[1])

    # docs/sizing.md: 40 KiB for a stream under TLS, 1.7 KB and 2.7 KiB for an allocation, 4.9 KB for a connection of the hub.
    streams = default("streams.max_connections") + default("http.max_connections")
    full = streams * 40 * 1024 + default("limits.allocations") * 4500 + default("signaling.connections") * 4900
    (spec,) = [spec for _, labels, spec in pods(objects("one-port")) if labels["app.kubernetes.io/component"] == "server"]
    limit = spec["containers"][0]["resources"]["limits"]["memory"]
    assert limit.endswith("Gi") and full < int(limit.removesuffix("Gi")) * 2**30


def test_a_release_with_all_dashboards_fits_into_the_secret_that_helm_keeps_it_in():
    files = [path for path in CHART.rglob("*") if path.is_file() and "examples" not in path.parts]
    chart = {str(path): base64.b64encode(path.read_bytes()).decode() for path in files}
    manifest = "\n---\n".join(render_text(CASES["everything"]).values())
    stored = base64.b64encode(gzip.compress(json.dumps({"chart": chart, "manifest": manifest}).encode()))
    assert len(stored) < 700_000, "an object has 1 MiB at most"


def test_metrics_and_web_of_a_node_are_said_to_be_open_there():
    notes = render_text({"mode": "hostNetwork", "redis": {"splitRooms": True}})["NOTES.txt"]
    assert "Keep TCP 9478 and 8000" in notes
    assert "Keep TCP" not in render_text({})["NOTES.txt"]
