"""Every mode and every values file, rendered by Helm's engine and held to the schemas of Kubernetes and to each other."""

import re

import helm_python
import jsonschema
import kubernetes_validate
import pytest

import crds
from chart import CASES, CHART, named, objects, of_kind, pods, render, render_text

# What Chart.yaml says, and the newest whose schemas there are.
VERSIONS = ["1.30", "1.34", "1.37"]

every_case = pytest.mark.parametrize("case", sorted(CASES))


@every_case
def test_helm_lint_has_nothing_to_say(case):
    report = helm_python.lint(CHART, CASES[case], strict=True, kube_version="v1.37.0")
    said = [each for each in report["messages"] if "icon is recommended" not in each["error"]]
    assert said == [] and report["errors"] == []


@every_case
@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_one_that_kubernetes_takes(case, version):
    for manifest in objects(case):
        schema = crds.schema(manifest)
        if schema is not None:
            jsonschema.validate(manifest, schema)
        else:
            kubernetes_validate.validate(manifest, version, strict=True)


@every_case
def test_every_object_is_named_once_and_belongs_to_the_release(case):
    seen = set()
    for manifest in objects(case):
        metadata = manifest["metadata"]
        key = (manifest["apiVersion"], manifest["kind"], metadata["name"])
        assert key not in seen
        seen.add(key)
        assert metadata["namespace"] == "turn"
        assert metadata["labels"]["app.kubernetes.io/instance"] == "demo"
        assert len(metadata["name"]) <= 63


def test_names_fit_however_long_the_release_is_called():
    for manifest in render(CASES["everything"], name="a" * 53):
        assert len(manifest["metadata"]["name"]) <= 63, manifest["metadata"]["name"]
        assert not manifest["metadata"]["name"].endswith("-")


def matching(manifests, selector):
    return [spec for _, labels, spec in pods(manifests) if selector.items() <= labels.items()]


@every_case
def test_every_service_leads_to_ports_of_pods_that_exist(case):
    manifests = objects(case)
    for service in of_kind(manifests, "Service"):
        specs = matching(manifests, service["spec"]["selector"])
        assert specs, service["metadata"]["name"]
        assert service["spec"]["ports"]
        for spec in specs:
            ports = {port["name"]: port for container in spec["containers"] for port in container["ports"]}
            for port in service["spec"]["ports"]:
                assert ports[port["targetPort"]]["protocol"] == port["protocol"]


@every_case
def test_workloads_select_their_own_pods_and_no_others(case):
    manifests = objects(case)
    for workload in of_kind(manifests, "Deployment", "DaemonSet", "StatefulSet"):
        selected = matching(manifests, workload["spec"]["selector"]["matchLabels"])
        assert selected == [workload["spec"]["template"]["spec"]]


@every_case
def test_budgets_policies_and_scalers_are_about_pods_that_exist(case):
    manifests = objects(case)
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        assert matching(manifests, budget["spec"]["selector"]["matchLabels"])
    for policy in of_kind(manifests, "NetworkPolicy"):
        (spec,) = matching(manifests, policy["spec"]["podSelector"]["matchLabels"])
        open_ports = {(port["containerPort"], port["protocol"]) for port in spec["containers"][0].get("ports", [])}
        let_in = {
            (port["port"], port["protocol"])
            for rule in policy["spec"]["ingress"]
            for port in rule["ports"]
            if "endPort" not in port
        }
        assert let_in == open_ports, "a policy lets in what the pod listens at, and nothing else"
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        workload = named(manifests, target["kind"], target["name"])
        assert "replicas" not in workload["spec"], "two would decide how many there are"


@every_case
def test_whatever_is_referred_to_exists_or_is_the_operators(case):
    manifests = objects(case)
    values = CASES[case]
    made = {(each["kind"], each["metadata"]["name"]): each for each in manifests}
    given = {
        values.get("secrets", {}).get("existingSecret"),
        values.get("certificate", {}).get("existingSecret"),
        values.get("redis", {}).get("existingSecret"),
    } | {volume.get("secret", {}).get("secretName") for volume in values.get("extraVolumes", [])}
    for certificate in of_kind(manifests, "Certificate"):
        given.add(certificate["spec"]["secretName"])
    for name, _, spec in pods(manifests):
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for container in spec["containers"]:
            mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
            assert mounts <= volumes.keys(), name
            assert not any("subPath" in mount for mount in container.get("volumeMounts", [])), "those never change"
        for volume in volumes.values():
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in made
            if "secret" in volume:
                secret = volume["secret"]
                if secret["secretName"] in given:
                    continue
                found = made["Secret", secret["secretName"]]
                keys = found.get("data", {}).keys() | found.get("stringData", {}).keys()
                assert {item["key"] for item in secret["items"]} <= keys
        account = spec.get("serviceAccountName", "default")
        assert account == "default" or ("ServiceAccount", account) in made
    for ingress in of_kind(manifests, "Ingress"):
        backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        service = made["Service", backend["name"]]
        assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    for kind, protocol in [("HTTPRoute", "TCP"), ("TCPRoute", "TCP"), ("TLSRoute", "TCP"), ("UDPRoute", "UDP")]:
        for route in of_kind(manifests, kind):
            (backend,) = route["spec"]["rules"][0]["backendRefs"]
            ports = made["Service", backend["name"]]["spec"]["ports"]
            assert (backend["port"], protocol) in {(port["port"], port["protocol"]) for port in ports}
    for monitor in of_kind(manifests, "ServiceMonitor"):
        selector = monitor["spec"]["selector"]["matchLabels"]
        (service,) = [s for s in of_kind(manifests, "Service") if selector.items() <= s["metadata"]["labels"].items()]
        assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    for monitor in of_kind(manifests, "PodMonitor"):
        selected = matching(manifests, monitor["spec"]["selector"]["matchLabels"])
        assert len(selected) == (2 if values.get("web", {}).get("separate", {}).get("enabled") else 1)


@every_case
def test_pods_may_do_nothing_that_they_need_not(case):
    for name, _, spec in pods(objects(case)):
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            security = container["securityContext"]
            low = any(port["containerPort"] < 1024 for port in container.get("ports", []))
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is low
            assert security["capabilities"]["drop"] == ["ALL"]
            assert security["capabilities"].get("add", []) == (["NET_BIND_SERVICE"] if low else []), name
            assert "requests" in container["resources"]
        assert ("hostNetwork" in spec) == (spec.get("dnsPolicy") == "ClusterFirstWithHostNet")


def test_only_ports_below_1024_of_a_node_need_a_capability():
    adding = [
        case
        for case in CASES
        for _, _, spec in pods(objects(case))
        if "add" in spec["containers"][0]["securityContext"]["capabilities"]
    ]
    assert adding == ["host-network-443"], "behind a Service the pod's port is any port"


@every_case
def test_images_have_a_version_and_are_not_latest(case):
    for _, _, spec in pods(objects(case)):
        for container in spec["containers"]:
            assert re.search(r"(:[^/:]+|@sha256:[0-9a-f]{64})$", container["image"]), container["image"]
            assert not container["image"].endswith(":latest")


@every_case
def test_secrets_are_in_secrets_alone(case):
    manifests = objects(case)
    for manifest in manifests:
        if manifest["kind"] == "ConfigMap":
            text = str(manifest["data"])
            for word in ("secrets =", "secret =", "password =", "tokens =", "users ="):
                assert word not in text, f"{word} in {manifest['metadata']['name']}"
    made = [value for each in of_kind(manifests, "Secret") for value in (each.get("data", {}) | each.get("stringData", {})).values()]
    others = str([each for each in manifests if each["kind"] != "Secret"])
    for value in made:
        assert value not in others


@every_case
def test_a_pod_has_time_to_drain_before_it_is_killed(case):
    values = CASES[case]
    drain = values.get("relay", {}).get("drainSeconds", 900)
    for name, labels, spec in pods(objects(case)):
        if labels["app.kubernetes.io/component"] in ("server", "relay"):
            (container,) = spec["containers"]
            before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
            # http.drain_timeout and events.flush_timeout, and the moments in between.
            assert spec["terminationGracePeriodSeconds"] >= before + drain + 10 + 5 + 3, name


def test_readiness_does_not_flip_while_a_pod_drains():
    (pod,) = [spec for _, labels, spec in pods(objects("defaults")) if labels["app.kubernetes.io/component"] == "server"]
    (container,) = pod["containers"]
    path = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert path == {"startup": "/readyz", "readiness": "/healthz", "liveness": "/healthz"}


def test_two_renderings_make_different_secrets_and_an_existing_one_none():
    first, second = (of_kind(render({}), "Secret")[0]["data"] for _ in range(2))
    assert all(first[key] != second[key] for key in first)
    assert of_kind(render({"secrets": {"existingSecret": "mine"}}), "Secret") == []


def test_the_notes_name_what_is_still_open():
    notes = render_text({"auth": {"mode": "open"}})["NOTES.txt"]
    assert "everyone" in notes
    assert "everyone" not in render_text({})["NOTES.txt"]


def test_probes_can_be_changed_one_number_at_a_time():
    manifests = render({"probes": {"liveness": {"failureThreshold": 9}}})
    (spec,) = [spec for _, labels, spec in pods(manifests) if labels["app.kubernetes.io/component"] == "server"]
    probe = spec["containers"][0]["livenessProbe"]
    assert probe["failureThreshold"] == 9 and probe["httpGet"]["path"] == "/healthz"
