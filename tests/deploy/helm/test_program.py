"""What the chart writes is what the program reads: keys, variables, flags, paths and ports, asked of the program itself."""

import os
import re
import subprocess
import tomllib

import pytest

from chart import CASES, CHART, ROOT, configuration, objects, of_kind, pods, render

TARGET = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
PROGRAM = os.environ.get("MEETPOINT_PROGRAM", f"{TARGET}/debug/meetpoint")
SECRET = "0123456789abcdef0123456789abcdef"

every_case = pytest.mark.parametrize("case", sorted(CASES))


def meetpoint(*arguments, env=None):
    return subprocess.run([PROGRAM, *arguments], env=env or {}, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def reference():
    done = meetpoint("config", "docs")
    assert done.returncode == 0
    return done.stdout


def variables(spec):
    """What the kubelet would give the first container."""
    given = {"metadata.name": "demo-meetpoint-abc12", "status.hostIP": "203.0.113.77", "status.podIP": "10.244.1.5"}
    found = {}
    for each in spec["containers"][0].get("env", []):
        value = each.get("value")
        if value is None:
            value = given[each["valueFrom"]["fieldRef"]["fieldPath"]]
        found[each["name"]] = re.sub(r"\$\((\w+)\)", lambda name: found.get(name[1], name[0]), value)
    return found


def on_this_machine(text, directory):
    """The configuration with its files under a directory of ours."""
    for path in set(re.findall(r'"(/etc/meetpoint/[^":]+)', text)):
        file = directory / path.removeprefix("/etc/meetpoint/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{file.parent.name} {file.name} {SECRET}\n")
    return text.replace("/etc/meetpoint", str(directory))


@every_case
def test_the_program_takes_the_configuration_and_the_variables(case, tmp_path):
    manifests = objects(case)
    file = tmp_path / "meetpoint.toml"
    file.write_text(on_this_machine(configuration(manifests), tmp_path))
    for name, labels, spec in pods(manifests):
        if labels["app.kubernetes.io/component"] not in ("server", "relay", "web"):
            continue
        done = meetpoint("config", "check", "--config", str(file), env=variables(spec))
        assert done.returncode == 0, f"{name}\n{file.read_text()}\n{done.stderr}"
        shown = meetpoint("config", "show", "--config", str(file), env=variables(spec)).stdout
        assert SECRET not in shown


@every_case
def test_every_file_in_the_configuration_is_mounted_there(case):
    manifests = objects(case)
    files = set(re.findall(r'"(/etc/meetpoint/[^":]+)', configuration(manifests)))
    files |= set(re.findall(r':(/etc/meetpoint/[^":]+)"', configuration(manifests)))
    for name, labels, spec in pods(manifests):
        if labels["app.kubernetes.io/component"] == "redis":
            continue
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        there = set()
        for mount in spec["containers"][0]["volumeMounts"]:
            volume = volumes[mount["name"]]
            if "configMap" in volume:
                names = ["meetpoint.toml"]
            else:
                names = [item["path"] for item in volume["secret"].get("items", [])] or ["tls.crt", "tls.key", "secrets"]
            there |= {f"{mount['mountPath']}/{each}" for each in names}
        assert files <= there, name


@every_case
def test_containers_listen_where_their_ports_say(case):
    manifests = objects(case)
    config = tomllib.loads(configuration(manifests))
    for name, labels, spec in pods(manifests):
        component = labels["app.kubernetes.io/component"]
        if component not in ("server", "relay", "web"):
            continue
        env = variables(spec)

        def at(section, key):
            value = env.get(f"MEETPOINT__{section}__{key}".upper())
            listeners = value.split(",") if value else config.get(section, {}).get(key, [])
            return {int(each.rsplit(":", 1)[1]) for each in listeners if not each.startswith(("127.", "[::1]"))}

        udp, tcp = at("relay", "listen"), at("http", "listen") | at("metrics", "listen") | at("relay", "listen_tls")
        if config["relay"]["listen_tcp"] == "same":
            tcp |= at("relay", "listen")
        tcp |= at("streams", "one_port")
        udp |= at("streams", "one_port")
        ports = spec["containers"][0]["ports"]
        for protocol, listening in (("TCP", tcp), ("UDP", udp)):
            named = {port["containerPort"] for port in ports if port["protocol"] == protocol}
            assert named <= listening, f"{name} names a port where nobody listens"
            if component == "server":
                assert named == listening, f"{name} listens where no port is named"


def test_every_flag_of_the_manifests_is_one_of_the_program():
    for case in CASES:
        for _, labels, spec in pods(objects(case)):
            for container in spec["containers"]:
                command, *arguments = container.get("args", ["serve"])
                if labels["app.kubernetes.io/component"] == "redis":
                    continue
                help_text = meetpoint(command, "--help").stdout
                for argument in arguments:
                    if argument.startswith("--"):
                        assert re.search(rf"{argument}\b", help_text), f"{command} {argument}"


def test_every_variable_of_the_manifests_is_a_key(reference):
    for case in CASES:
        for _, labels, spec in pods(objects(case)):
            for each in spec["containers"][0].get("env", []):
                if each["name"] != "NODE_ADDRESS" and labels["app.kubernetes.io/component"] != "redis":
                    assert f"`{each['name']}`" in reference, each["name"]


def test_the_versions_of_the_chart_and_of_the_program_agree():
    chart = (CHART / "Chart.yaml").read_text()
    cargo = (ROOT / "Cargo.toml").read_text()
    version = re.search(r'^version = "(.+)"', cargo, re.M)[1]
    assert f"appVersion: {version}\n" in chart


def test_redis_lets_in_one_user_who_may_publish_and_subscribe_alone():
    manifests = render({"redis": {"bundled": {"enabled": True}, "prefix": "calls"}})
    (config,) = [each["data"]["redis.conf"] for each in of_kind(manifests, "ConfigMap") if "redis.conf" in each["data"]]
    assert "user default off" in config and 'save ""' in config
    (redis,) = of_kind(manifests, "StatefulSet")
    arguments = redis["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments[:4] == ["--user", "meetpoint", "on", ">$(REDIS_PASSWORD)"]
    assert arguments[4:] == ["resetchannels", "&calls:*", "-@all", "+publish", "+subscribe", "+unsubscribe"]
