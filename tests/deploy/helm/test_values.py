"""What values are refused, and what is said then."""

import re
import subprocess
import sys

import helm_python
import pytest
import yaml

from chart import CASES, CHART, ROOT, configuration, of_kind, render

TLS = {"certificate": {"existingSecret": "tls"}}


def refusal(values):
    with pytest.raises(helm_python.HelmError) as refused:
        render(values)
    return str(refused.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"relay": {"prot": 3478}}, "prot"),
        ({"replicas": 2}, "replicas"),
        ({"mode": "nodePort"}, "/mode"),
        ({"image": {"tag": "latest"}}, "/image/tag"),
        ({"image": {"digest": "sha256:abc"}}, "/image/digest"),
        ({"replicaCount": "2"}, "/replicaCount"),
        ({"relay": {"port": 70000}}, "/relay/port"),
        ({"relay": {"portRange": "49152:65535"}}, "/relay/portRange"),
        ({"relay": {"acrossReplicas": {"podCidrs": ["10.0.0.1"]}}}, "podCidrs"),
        ({"relay": {"host": "turn.example.org:3478"}}, "/relay/host"),
        ({"credentials": {"ttl": "one hour"}}, "/credentials/ttl"),
        ({"redis": {"url": "redis.example.org"}}, "/redis/url"),
        ({"redis": {"bundled": {"image": "valkey/valkey:latest"}}}, "/redis/bundled/image"),
        ({"web": {"ingress": {"enable": True}}}, "enable"),
        ({"network": {"families": []}}, "/network/families"),
    ],
)
def test_a_typo_or_a_value_of_the_wrong_kind_is_refused_by_its_name(values, said):
    message = refusal(values)
    assert "schema" in message and said in message


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicaCount": 2, "relay": {"acrossReplicas": {"podCidrs": ["10.0.0.0/8"]}}}, "redis.bundled.enabled"),
        ({"replicaCount": 2, "redis": {"bundled": {"enabled": True}}}, "relay.acrossReplicas.podCidrs"),
        ({"relay": {"tls": {"enabled": True}}}, "certificate.existingSecret"),
        ({"relay": {"onePort": {"enabled": True}, "tls": {"enabled": True}}, **TLS}, "keep one of the two"),
        ({"relay": {"onePort": {"enabled": True}}, "web": {"separate": {"enabled": True}}, **TLS}, "web.separate"),
        ({"certificate": {"create": True}, "relay": {"host": "a.b"}}, "certificate.issuerRef.name"),
        ({"certificate": {"create": True, "issuerRef": {"name": "ca"}}}, "certificate.dnsNames"),
        ({"redis": {"url": "redis://meetpoint:hunter2@redis"}}, "redis.existingSecret"),
        ({"redis": {"url": "redis://redis", "bundled": {"enabled": True}}}, "keep one"),
        ({"web": {"ingress": {"enabled": True}}}, "web.ingress.host"),
        ({"web": {"gateway": {"enabled": True}}}, "web.gateway.parentRefs"),
        ({"secrets": {"existingSecret": "mine", "rotation": 1}}, "rotated by you"),
        ({"auth": {"mode": "external"}, "config": '[auth]\njwks_url = "https://a/b"', "tests": {"external": True}}, "tests.external"),
        ({"relay": {"host": "a.b", "gateway": {"tlsRoute": [{"name": "g"}]}}}, "no port for TLS"),
        ({"relay": {"tls": {"enabled": True}, "gateway": {"tlsRoute": [{"name": "g"}]}}, **TLS}, "set relay.host"),
        ({"relay": {"tcp": False, "gateway": {"tcpRoute": [{"name": "g"}]}}}, "no port for TCP"),
        ({"mode": "hostNetwork"}, "redis.url"),
        ({"mode": "hostNetwork", "hostNetwork": {"address": "probe"}}, "hostNetwork.probeServers"),
        ({"mode": "hostNetwork", "hostNetwork": {"address": "static"}}, "relay.externalIp"),
        ({"mode": "hostNetwork", "relay": {"externalIp": ["203.0.113.5"]}}, "static"),
        ({"mode": "hostNetwork", "web": {"separate": {"enabled": True}}}, "relay.host"),
        ({"mode": "hostNetwork", "autoscaling": {"enabled": True}}, "DaemonSet"),
        ({"autoscaling": {"enabled": True, "cpu": None}}, "autoscaling.bandwidth"),
        ({"relay": {"port": 8000}}, "8000/TCP"),
        ({"config": "[http\nlisten = 1"}, "toml"),
        ({"config": '[credentials]\nsecrets = ["hunter2"]'}, "credentials.secrets would be readable"),
        ({"config": '[realms.acme]\nsecrets = "hunter2"'}, "realms.acme.secrets would be readable"),
        ({"config": '[auth]\nhook_secret = "hunter2"'}, "auth.hook_secret would be readable"),
        ({"config": '[third_party]\nkeys = ["a:hunter2"]'}, "third_party.keys would be readable"),
        ({"config": '[[events.webhooks]]\nurl = "https://a"\nsecret = "hunter2"'}, "events.webhooks.secret would be readable"),
        ({"auth": {"mode": "external"}}, "open to everyone"),
        ({"auth": {"mode": "external"}, "config": '[auth]\njwt_issuer = "a"'}, "jwks_url"),
    ],
)
def test_what_cannot_work_together_is_refused_with_the_way_out(values, said):
    message = refusal(values)
    assert said in message and "hunter2" not in message


def test_judges_of_the_operators_are_enough():
    text = configuration(render({"auth": {"mode": "external"}, "config": '[auth]\njwks_url = "https://id.example.org/jwks"'}))
    assert "jwks_url" in text and "jwt_secrets" not in text


def test_all_that_is_wrong_is_said_at_once_and_no_password_repeated():
    message = refusal(
        {
            "replicaCount": 3,
            "relay": {"tls": {"enabled": True}},
            "web": {"ingress": {"enabled": True}},
            "redis": {"url": "redis://:hunter2@redis"},
        }
    )
    for said in ("podCidrs", "certificate.existingSecret", "web.ingress.host", "redis.existingSecret"):
        assert said in message
    assert "hunter2" not in message


def paths(value, prefix=""):
    for key, inner in value.items():
        path = f"{prefix}{key}"
        yield path
        if isinstance(inner, dict) and inner:
            yield from paths(inner, f"{path}.")


def test_every_value_is_in_the_schema_and_every_property_of_the_schema_is_a_value():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    with helm_python.Chart.load(CHART) as chart:
        schema = chart.schema

    def declared(schema, prefix=""):
        for key, inner in schema.get("properties", {}).items():
            yield f"{prefix}{key}"
            yield from declared(inner, f"{prefix}{key}.")
            # What is open by intention holds keys of Kubernetes; what is ours is closed.
            assert "properties" not in inner or inner["additionalProperties"] is False, key

    in_values = set(paths(values))
    in_schema = set(declared(schema)) - {"global"}
    free = {"resources", "web.separate.resources", "redis.bundled.resources", "metrics.dashboards.labels"}
    in_values = {path for path in in_values if not any(path.startswith(f"{each}.") for each in free)}
    in_schema = {path for path in in_schema if not path.startswith("probes.")}
    assert in_values == in_schema


def test_configuration_of_the_operator_wins_and_numbers_stay_whole():
    text = configuration(render({"config": "[relay]\nworkers = 3\n[limits]\nallocations = 100000000\n"}))
    assert "workers = 3\n" in text and "allocations = 100000000\n" in text
    assert 'realm = "meetpoint"' in text


def checksum(values):
    (workload,) = of_kind(render(values), "Deployment")
    return workload["spec"]["template"]["metadata"]["annotations"]["checksum/config"]


@pytest.mark.parametrize(
    "live",
    [
        {"logLevel": "debug"},
        {"web": {"corsOrigins": ["https://app.example.org"]}},
        {"credentials": {"ttl": "2h"}},
        {"relay": {"host": "turn.example.org"}},
        {"config": "[limits]\nallocations = 7\n"},
        {"config": '[realms.acme]\nsecrets_file = "/etc/meetpoint/acme/secrets"\n'},
    ],
)
def test_what_a_running_program_takes_over_makes_no_new_pods(live):
    assert checksum(live) == checksum({})


@pytest.mark.parametrize(
    "restart",
    [
        {"relay": {"realm": "other"}},
        {"relay": {"workers": 2}},
        {"web": {"port": 8080}},
        {"config": '[backplane]\nprefix = "other"\n'},
    ],
)
def test_what_needs_a_restart_makes_new_pods(restart):
    assert checksum(restart) != checksum({})


def test_the_examples_are_named_in_the_page():
    page = (ROOT / "docs/kubernetes.md").read_text()
    missing = [case for case in CASES if (CHART / f"examples/{case}.yaml").exists() and f"examples/{case}.yaml" not in page]
    assert missing == []


def test_the_readme_is_what_the_values_say():
    done = subprocess.run([sys.executable, ROOT / "ops/helm_readme.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_value_is_in_the_readme_and_says_what_it_is_for():
    rows = re.findall(r"^\| `([^`]+)` \| `.*` \| (.*) \|$", (CHART / "README.md").read_text(), re.M)
    documented = {path for path, _ in rows}
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    leaves = {path for path in paths(values) if not any(other.startswith(f"{path}.") for other in paths(values))}
    missing = {path for path in leaves if not any(path == each or path.startswith(f"{each}.") for each in documented)}
    assert missing == set()
    silent = [path for path, meaning in rows if len(meaning) < 8]
    assert silent == [], "a value without a comment"
