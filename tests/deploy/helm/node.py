"""Enough of a node to run the chart's pods: a network, volumes that change as the kubelet changes them, containers, probes, and
Services as kube-proxy makes them. Needs root, `ip` and `nft`; everything is named after this process and taken away at the end."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64decode
from pathlib import Path

from chart import of_kind
from test_program import PROGRAM

LAUNCHER = Path(__file__).with_name("launcher.py")


def run(*command, check=True, **more):
    return subprocess.run(command, check=check, capture_output=True, text=True, **more)


def is_possible():
    return os.geteuid() == 0 and all(shutil.which(name) for name in ("ip", "nft", "mount"))


class Volume:
    """A directory as the kubelet keeps it: the files are links into `..data`, which is a link that is swapped."""

    versions = itertools.count(1)

    def __init__(self, path, files, mode, group):
        self.path, self.mode, self.group = path, mode, group
        path.mkdir(parents=True)
        self.update(files)

    def update(self, files):
        version = f"..2026_11_21_00_00_00.{next(self.versions)}"
        directory = self.path / version
        directory.mkdir()
        for name, text in files.items():
            file = directory / name
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
            os.chown(file, 0, self.group)
            file.chmod(self.mode)
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
        old = os.readlink(self.path / "..data") if (self.path / "..data").is_symlink() else None
        (self.path / "..data_tmp").symlink_to(version)
        (self.path / "..data_tmp").rename(self.path / "..data")
        if old:
            shutil.rmtree(self.path / old)


class Node:
    """A bridge with an address, to which pods are attached."""

    def __init__(self, directory):
        self.directory = directory
        self.tag = f"mph{os.getpid() % 100000}"
        self.prefix = f"10.244.{os.getpid() % 200 + 20}"
        self.address = f"{self.prefix}.1"
        self.numbers = itertools.count(2)
        self.namespaces, self.containers = [], []
        run("ip", "link", "add", self.tag, "type", "bridge")
        run("ip", "address", "add", f"{self.address}/24", "dev", self.tag)
        run("ip", "link", "set", self.tag, "up")

    def close(self):
        for container in self.containers:
            container.kill()
        for name, link in self.namespaces:
            # The kernel takes a namespace's links away when it comes to it.
            run("ip", "link", "delete", link, check=False)
            run("ip", "netns", "delete", name, check=False)
        run("ip", "link", "delete", self.tag, check=False)

    def network(self):
        """A namespace on the bridge: (name, address)."""
        number = next(self.numbers)
        name, link, address = f"{self.tag}-{number}", f"{self.tag}n{number}", f"{self.prefix}.{number}"
        run("ip", "netns", "add", name)
        self.namespaces.append((name, link))
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", link, "master", self.tag, "up")
        for command in (f"address add {address}/24 dev eth0", "link set eth0 up", "link set lo up", f"route add default via {self.address}"):
            run("ip", "-n", name, *command.split())
        return name, address


class Pod:
    """One pod of rendered manifests: its volumes, and its containers on demand."""

    def __init__(self, node, manifests, spec, files=None, hosts=None):
        self.node, self.spec, self.hosts = node, spec, hosts or {}
        self.namespace, self.address = node.network()
        self.directory = node.directory / self.namespace
        self.volumes = {}
        for volume in spec["volumes"]:
            path, given = self.directory / volume["name"], (files or {}).get(volume["name"])
            group = spec["securityContext"]["fsGroup"]
            mode = volume.get("secret", {}).get("defaultMode", 0o644)
            self.volumes[volume["name"]] = Volume(path, given or content(manifests, volume), mode, group)

    def container(self, number=0, **changed):
        spec = self.spec["containers"][number] | changed
        container = Container(self, spec)
        self.node.containers.append(container)
        return container


def content(manifests, volume):
    """What a volume holds, from the objects of the chart."""
    if "configMap" in volume:
        (found,) = [each for each in of_kind(manifests, "ConfigMap") if each["metadata"]["name"] == volume["configMap"]["name"]]
        return found["data"]
    source = volume["secret"]
    (found,) = [each for each in of_kind(manifests, "Secret") if each["metadata"]["name"] == source["secretName"]]
    data = {key: b64decode(value) for key, value in found.get("data", {}).items()} | found.get("stringData", {})
    return {item["path"]: data[item["key"]] for item in source["items"]}


class Container:
    """A process with the rights, the files and the variables of a container."""

    def __init__(self, pod, spec):
        self.pod, self.spec = pod, spec
        self.ports = {port["name"]: port["containerPort"] for port in spec.get("ports", [])}
        security, outer = spec["securityContext"], pod.spec["securityContext"]
        root = pod.directory / f"root-{spec['name']}"
        root.mkdir()
        given = {"metadata.name": pod.namespace, "status.hostIP": pod.address}
        environment = {"PATH": "/app", "KUBERNETES_SERVICE_HOST": "10.96.0.1"}
        for each in spec.get("env", []):
            value = each["value"] if "value" in each else given[each["valueFrom"]["fieldRef"]["fieldPath"]]
            environment[each["name"]] = re.sub(r"\$\((\w+)\)", lambda name: environment.get(name[1], name[0]), value)
        description = {
            "root": str(root),
            "program": PROGRAM,
            "hosts": pod.hosts,
            "mounts": {mount["mountPath"]: str(pod.volumes[mount["name"]].path) for mount in spec["volumeMounts"]},
            "read_only": security["readOnlyRootFilesystem"],
            "capabilities": security["capabilities"].get("add", []),
            "user": outer["runAsUser"],
            "group": outer["runAsGroup"],
            "fs_group": outer["fsGroup"],
            "no_new_privileges": not security["allowPrivilegeEscalation"],
            "arguments": spec["args"],
            "environment": environment,
        }
        file = pod.directory / f"{spec['name']}.json"
        file.write_text(json.dumps(description))
        self.log_path = pod.directory / f"{spec['name']}.log"
        with self.log_path.open("w") as log:
            command = ["ip", "netns", "exec", pod.namespace, sys.executable, str(LAUNCHER), str(file)]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def log(self):
        return self.log_path.read_text()

    def get(self, port, path, headers=None):
        """(status, body) from outside of the pod."""
        request = urllib.request.Request(f"http://{self.pod.address}:{port}{path}", headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def probe(self, kind):
        """The status of what the kubelet would ask."""
        asked = self.spec[f"{kind}Probe"]["httpGet"]
        return self.get(self.ports[asked["port"]], asked["path"])[0]

    def started(self):
        """Waits as the startup probe does."""

        def probed():
            assert self.process.poll() is None, self.log
            try:
                return self.probe("startup") == 200
            except OSError:
                return False

        until(probed, lambda: self.log)
        return self

    def status(self):
        """/proc/PID/status as a dict."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def serve(namespace, manifests, backends):
    """Services as kube-proxy makes them, for programs in this namespace: {name of the Service: pod}. Gives their addresses by name."""
    rules, hosts = [], {}
    for number, service in enumerate(of_kind(manifests, "Service")):
        metadata = service["metadata"]
        pod = backends.get(metadata["name"])
        if pod is None:
            continue
        address = f"10.96.0.{number + 10}"
        hosts[f"{metadata['name']}.{metadata['namespace']}.svc"] = hosts[metadata["name"]] = address
        ports = {port["name"]: port["containerPort"] for port in pod.spec["containers"][0]["ports"]}
        for port in service["spec"]["ports"]:
            target, protocol = ports[port["targetPort"]], port["protocol"].lower()
            rules.append(f"ip daddr {address} {protocol} dport {port['port']} dnat to {pod.address}:{target}")
    lines = ["table ip services {", "chain output {", "type nat hook output priority -100; policy accept;", *rules, "}", "}", ""]
    done = run("ip", "netns", "exec", namespace, "nft", "-f", "-", input="\n".join(lines), check=False)
    assert done.returncode == 0, done.stderr
    return hosts


def until(true, otherwise=lambda: "", seconds=60):
    """Waits until something is true: a bound for what never comes, on a machine that may be busy."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, otherwise()
        time.sleep(0.05)
