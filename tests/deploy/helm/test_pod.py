"""The pods of the chart, run for real: the file tree, the user and the rights of the manifest, the probes, `helm test`, a swapped
Secret, a swapped certificate, and the end of a pod with a living relay."""

import asyncio
import contextlib
import hmac
import json
import shutil
import socket
import ssl
import subprocess
import time
from base64 import b64decode, b64encode, urlsafe_b64encode
from pathlib import Path

import pytest
from aioice import stun, turn

import node as nodes
from chart import CHART, configuration, named, of_kind, pods, render
from conftest import let_time_pass
from node import Pod, until

pytestmark = pytest.mark.skipif(not nodes.is_possible(), reason="needs root, ip and nft")

SECRETS = {"turn-secrets": "turn one 0123456789abcdef0123456789abcdef", "nonce-secret": "nonce 0123456789abcdef0123456789abcdef"}
SECRETS |= {"jwt-secrets": "jwt 0123456789abcdef0123456789abcdef", "admin-tokens": "admin 0123456789abcdef0123456789abcdef"}


@pytest.fixture
def node(tmp_path):
    # Reachable by the pods' user, as a node's directories are.
    tmp_path.chmod(0o755)
    node = nodes.Node(tmp_path)
    yield node
    node.close()


def component(manifests, name):
    (found,) = [spec for _, labels, spec in pods(manifests) if labels["app.kubernetes.io/component"] == name]
    return found


def ours(manifests):
    """The secrets of the generated Secret: of each kind the first, which mints."""
    return {key: b64decode(value).decode().split()[0] for key, value in named(manifests, "Secret", "demo-meetpoint-secrets")["data"].items()}


def credential(secret, user="alice", seconds=600):
    username = f"{int(time.time()) + seconds}:{user}"
    return username, b64encode(hmac.digest(secret.encode(), username.encode(), "sha1")).decode()


def token(secret, **claims):
    def part(value):
        return urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).rstrip(b"=")

    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part({"sub": "alice", "exp": int(time.time()) + 600} | claims)
    return (signed + b"." + part(hmac.digest(secret.encode(), signed, "sha256"))).decode()


class Heard(asyncio.DatagramProtocol):
    def __init__(self):
        self.queue = asyncio.Queue()

    def datagram_received(self, data, source):
        self.queue.put_nowait(data)


async def allocate(pod, port, given, transport="udp"):
    """An allocation of aioice: (transport, protocol)."""
    username, password = given
    return await turn.create_turn_endpoint(Heard, server_addr=(pod.address, port), username=username, password=password, transport=transport)


async def refused(pod, port, given):
    """The code of the error that a request for an allocation gets."""
    with pytest.raises(stun.TransactionFailed) as failed:
        await allocate(pod, port, given)
    return failed.value.response.attributes["ERROR-CODE"][0]


def relayed(allocation):
    return allocation[0].get_extra_info("sockname")


async def relay_both_ways(one, other):
    """Both send to the other's relayed address until each has heard the other: the first packets open the permissions."""
    word = f"{time.monotonic()}".encode()

    async def hear(queue):
        while await queue.get() != word:
            pass

    heard = asyncio.gather(hear(one[1].queue), hear(other[1].queue))
    for _ in range(100):
        one[0].sendto(word, relayed(other))
        other[0].sendto(word, relayed(one))
        done, _ = await asyncio.wait([heard], timeout=0.1)
        if done:
            return
    heard.cancel()
    raise AssertionError("what was sent did not arrive")


def test_a_pod_starts_as_the_manifest_says_and_its_probes_answer(node):
    manifests = render({"admin": {"enabled": True}})
    container = Pod(node, manifests, component(manifests, "server")).container().started()
    status = container.status()
    assert status["Uid"].split() == ["65532"] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    mounts = Path(f"/proc/{container.process.pid}/mountinfo").read_text().splitlines()
    (root,) = [line for line in mounts if line.split()[4] == "/"]
    assert "ro" in root.split()[5].split(",") or " - tmpfs tmpfs ro" in root
    for kind in ("startup", "readiness", "liveness"):
        assert container.probe(kind) == 200
    for port in container.spec["ports"]:
        if port["protocol"] == "TCP":
            socket.create_connection((container.pod.address, port["containerPort"]), timeout=10).close()
    assert "meetpoint_relay_allocations" in container.get(container.ports["metrics"], "/metrics")[1]
    assert container.get(container.ports["http"], "/metrics")[0] == 404, "metrics are for the cluster alone"
    assert container.get(container.ports["http"], "/api/ice-servers")[0] == 401, "closed until the operator opens it"
    with pytest.raises(OSError):
        socket.create_connection((container.pod.address, 8001), timeout=5)


@pytest.mark.parametrize("case", ["one", "separate", "one-port", "host-network"])
def test_the_pod_of_helm_test_is_content_and_fails_with_another_secret(node, case):
    values = {"auth": {"audience": "meet", "issuer": "id"}}
    if case == "separate":
        values["web"] = {"separate": {"enabled": True, "replicaCount": 1}}
    if case == "one-port":
        values |= {"relay": {"onePort": {"enabled": True}, "host": "meet.example.org"}, "certificate": {"existingSecret": "tls"}}
    if case == "host-network":
        values |= {"mode": "hostNetwork", "redis": {"splitRooms": True}}
    manifests = render(values)
    files = {"tls": certificate(node.directory, "meet.example.org")} if case == "one-port" else {}
    by_component = {}
    for _, labels, spec in pods(manifests):
        name = labels["app.kubernetes.io/component"]
        if name != "test":
            pod = Pod(node, manifests, spec, files=files)
            pod.container().started()
            by_component[name] = pod
    backends = {
        each["metadata"]["name"]: by_component.get(each["spec"]["selector"].get("app.kubernetes.io/component"))
        for each in of_kind(manifests, "Service")
    }
    tester = Pod(node, manifests, component(manifests, "test"), files=files)
    tester.hosts |= nodes.serve(tester.namespace, manifests, backends)
    for number in range(len(tester.spec["containers"])):
        container = tester.container(number)
        assert container.process.wait(timeout=120) == 0, container.log
    if case == "one":
        wrong = SECRETS | {"turn-secrets": "another 0123456789abcdef0123456789abcdef"}
        wrong = {key: wrong[key] for key in ("turn-secrets", "nonce-secret", "jwt-secrets")}
        stranger = Pod(node, manifests, component(manifests, "test"), files={"secrets": wrong}, hosts=tester.hosts)
        nodes.serve(stranger.namespace, manifests, backends)
        for number in range(2):
            container = stranger.container(number)
            assert container.process.wait(timeout=120) == 1, container.log


def test_a_swapped_secret_and_a_swapped_configuration_arrive_without_a_restart(node):
    manifests = render({})
    pod = Pod(node, manifests, component(manifests, "server"))
    container = pod.container().started()
    first = ours(manifests)
    second = "turn two 0123456789abcdef0123456789abcdef"

    async def scenario():
        before = await allocate(pod, 3478, credential(first["turn-secrets"]))
        kept = {key: first[key] for key in ("nonce-secret", "jwt-secrets")}
        assert await refused(pod, 3478, credential(second)) == 401
        pod.volumes["secrets"].update(kept | {"turn-secrets": f"{second}\n{first['turn-secrets']}\n"})
        await asyncio.to_thread(until, lambda: "credentials.secrets" in container.log, lambda: container.log)
        # Both work, and the newer one mints.
        after = await allocate(pod, 3478, credential(second))
        old = await allocate(pod, 3478, credential(first["turn-secrets"]))
        await relay_both_ways(after, old)
        bearer = {"Authorization": f"Bearer {token(first['jwt-secrets'])}"}
        status, body = container.get(container.ports["http"], "/api/ice-servers", bearer)
        assert status == 200, body
        (entry,) = [each for each in json.loads(body)["iceServers"] if "username" in each]
        assert entry["credential"] == b64encode(hmac.digest(second.encode(), entry["username"].encode(), "sha1")).decode()

        pod.volumes["secrets"].update(kept | {"turn-secrets": f"{second}\n"})
        seen = container.log.count("configuration reloaded")
        await asyncio.to_thread(until, lambda: container.log.count("configuration reloaded") > seen, lambda: container.log)
        assert await refused(pod, 3478, credential(first["turn-secrets"])) == 401
        await relay_both_ways(before, old)
        for transport, _ in (before, after, old):
            transport.close()

    asyncio.run(scenario())
    config = named(manifests, "ConfigMap", "demo-meetpoint")["data"]["meetpoint.toml"]
    pod.volumes["config"].update({"meetpoint.toml": config.replace('level = "info"', 'level = "debug"')})
    until(lambda: "log.level" in container.log, lambda: container.log)
    assert container.process.poll() is None
    assert not any(secret in container.log for secret in (*first.values(), second))


def test_two_rotations_of_a_release_refuse_nobody_whichever_pod_follows_first(node, cluster):
    api, helm = cluster
    values = {"replicaCount": 2, "redis": {"splitRooms": True}, "relay": {"acrossReplicas": {"podCidrs": [f"{node.prefix}.0/24"]}}}
    helm.install(CHART, "demo", values)
    manifests = list(api.objects.values())
    two = [Pod(node, manifests, component(manifests, "server")) for _ in range(2)]
    containers = [pod.container().started() for pod in two]
    bearer = {"Authorization": f"Bearer {token(ours(manifests)['jwt-secrets'])}"}
    # Rotations that each pod has followed, and what was issued with a secret that may still open: for the rest to end the chart waits.
    generations, issued = [0, 0], []

    def issue():
        for container, generation in zip(containers, generations):
            status, body = container.get(container.ports["http"], "/api/ice-servers", bearer)
            assert status == 200, body
            (entry,) = [each for each in json.loads(body)["iceServers"] if "username" in each]
            issued.append((generation, (entry["username"], entry["credential"])))

    async def all_are_taken():
        for pod in two:
            for _, given in issued:
                transport, _ = await allocate(pod, 3478, given)
                transport.close()

    def follow(number):
        seen = containers[number].log.count("configuration reloaded")
        (volume,) = [each for each in two[number].spec["volumes"] if each["name"] == "secrets"]
        two[number].volumes["secrets"].update(nodes.content(list(api.objects.values()), volume))
        until(lambda: containers[number].log.count("configuration reloaded") > seen, lambda: containers[number].log)
        generations[number] += 1

    issue()
    asyncio.run(all_are_taken())
    for rotation, order in [(1, (0, 1)), (2, (1, 0))]:
        let_time_pass(api)
        issued[:] = [each for each in issued if each[0] >= rotation - 1]
        helm.upgrade(CHART, "demo", values | {"secrets": {"rotation": rotation}})
        for number in order:
            follow(number)
            issue()
            asyncio.run(all_are_taken())
    assert {generation for generation, _ in issued} == {1, 2}


def test_a_pod_that_ends_goes_on_for_its_relays_stays_ready_and_takes_no_new_ones(node):
    manifests = render({})
    pod = Pod(node, manifests, component(manifests, "server"))
    container = pod.container().started()
    secret = ours(manifests)["turn-secrets"]

    async def scenario():
        one, other = [await allocate(pod, 3478, credential(secret, user)) for user in ("alice", "bob")]
        over_tcp = await allocate(pod, 3478, credential(secret, "carol"), "tcp")
        await relay_both_ways(one, other)
        container.terminate()
        await asyncio.to_thread(until, lambda: container.get(container.ports["metrics"], "/readyz")[0] == 503, lambda: container.log)
        assert await refused(pod, 3478, credential(secret, "dora")) == 508
        assert container.probe("readiness") == container.probe("liveness") == 200
        await relay_both_ways(one, other)
        await relay_both_ways(one, over_tcp)
        assert container.process.poll() is None
        for transport, _ in (one, other, over_tcp):
            transport.close()

    asyncio.run(scenario())
    assert container.process.wait(timeout=60) == 0, container.log
    assert "ending allocations that still live" not in container.log


def test_clients_of_two_pods_meet_on_the_network_of_the_pods(node):
    values = {"replicaCount": 2, "redis": {"splitRooms": True}, "relay": {"acrossReplicas": {"podCidrs": [f"{node.prefix}.0/24"]}}}
    manifests = render(values)
    two = [Pod(node, manifests, component(manifests, "server")) for _ in range(2)]
    for pod in two:
        pod.container().started()
    secret = ours(manifests)["turn-secrets"]

    async def scenario():
        one, other = [await allocate(pod, 3478, credential(secret)) for pod in two]
        addresses = [relayed(each)[0] for each in (one, other)]
        assert addresses == [pod.address for pod in two]
        await relay_both_ways(one, other)
        for transport, _ in (one, other):
            transport.close()

    asyncio.run(scenario())


def certificate(directory, name):
    key, chain = directory / f"{name}.key", directory / f"{name}.crt"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split()
    subprocess.run([*command, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", chain], check=True, capture_output=True)
    return {"tls.crt": chain.read_bytes(), "tls.key": key.read_bytes()}


def test_one_port_serves_everything_and_a_swapped_certificate(node):
    manifests = render({"relay": {"onePort": {"enabled": True}, "host": "meet.example.org"}, "certificate": {"existingSecret": "tls"}})
    first, second = (certificate(node.directory, name) for name in ("one.example.org", "two.example.org"))
    pod = Pod(node, manifests, component(manifests, "server"), files={"tls": first})
    container = pod.container().started()
    (port,) = {container.ports[name] for name in ("one-tcp", "one-udp")}
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE

    def connect():
        stream = socket.create_connection((pod.address, port), timeout=10)
        return trusting.wrap_socket(stream)

    def served(name):
        with connect() as stream:
            return name.encode() in stream.getpeercert(binary_form=True)

    def ask(stream):
        stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: meet.example.org\r\n\r\n")
        return stream.recv(4096).startswith(b"HTTP/1.1 200")

    assert served("one.example.org")
    with connect() as living:
        assert ask(living)
        pod.volumes["tls"].update(second)
        until(lambda: served("two.example.org"), lambda: container.log)
        assert ask(living), "a connection of the old certificate goes on"
    # How soon that is on a machine that is not busy.
    assert 'reload_interval = "2s"' in configuration(manifests)

    manifest_secrets = ours(manifests)
    bearer = {"Authorization": f"Bearer {token(manifest_secrets['jwt-secrets'])}"}
    status, body = container.get(container.ports["http"], "/api/ice-servers", bearer)
    urls = {url for each in json.loads(body)["iceServers"] for url in each["urls"]}
    assert status == 200 and {"turn:meet.example.org:443?transport=udp", "turns:meet.example.org:443?transport=tcp"} <= urls
    assert all(":443" in url for url in urls), urls

    async def scenario():
        given = credential(manifest_secrets["turn-secrets"])
        one, other = await allocate(pod, port, given), await allocate(pod, port, given, "tcp")
        await relay_both_ways(one, other)
        for transport, _ in (one, other):
            transport.close()

    asyncio.run(scenario())


def test_on_the_network_of_a_node_the_list_names_the_node_and_nothing_else_is_open(node):
    manifests = render({"mode": "hostNetwork", "redis": {"splitRooms": True}, "web": {"publicUrl": "https://meet.example.org"}})
    pod = Pod(node, manifests, component(manifests, "server"))
    container = pod.container().started()
    bearer = {"Authorization": f"Bearer {token(ours(manifests)['jwt-secrets'])}"}
    status, body = container.get(container.ports["http"], "/api/ice-servers", bearer)
    urls = {url for each in json.loads(body)["iceServers"] for url in each["urls"]}
    assert status == 200 and f"turn:{pod.address}:3478?transport=udp" in urls, body
    assert not any("meet.example.org" in url for url in urls)


def test_a_node_behind_nat_tells_the_address_that_a_stun_server_sees(node):
    outside = render({})
    asked = Pod(node, outside, component(outside, "server"))
    asked.container().started()
    probing = {"address": "probe", "probeServers": [f"stun:{asked.address}:3478"]}
    manifests = render({"mode": "hostNetwork", "hostNetwork": probing, "redis": {"splitRooms": True}})
    pod = Pod(node, manifests, component(manifests, "server"))
    # 1:1 NAT, as seen from inside: the address is none of the pod's.
    public = f"{node.prefix}.250"
    rule = f"ip daddr {asked.address} udp dport 3478 snat to {public}"
    lines = ["table ip nat {", "chain out {", "type nat hook postrouting priority 100;", rule, "}", "}", ""]
    nodes.run("ip", "netns", "exec", pod.namespace, "nft", "-f", "-", input="\n".join(lines))
    nodes.run("ip", "netns", "exec", pod.namespace, "sysctl", "-qw", "net.ipv4.conf.eth0.proxy_arp=1")
    nodes.run("ip", "netns", "exec", asked.namespace, "ip", "route", "add", f"{public}/32", "via", pod.address)
    container = pod.container().started()
    bearer = {"Authorization": f"Bearer {token(ours(manifests)['jwt-secrets'])}"}
    _, body = container.get(container.ports["http"], "/api/ice-servers", bearer)
    urls = {url for each in json.loads(body)["iceServers"] for url in each["urls"]}
    assert f"turn:{public}:3478?transport=udp" in urls, body

    async def scenario():
        one, other = [await allocate(pod, 3478, credential(ours(manifests)["turn-secrets"])) for _ in range(2)]
        assert relayed(one)[0] == relayed(other)[0] == public
        await relay_both_ways(one, other)
        for transport, _ in (one, other):
            transport.close()

    asyncio.run(scenario())


@pytest.mark.skipif(not shutil.which("redis-server"), reason="needs redis-server")
def test_two_replicas_share_a_redis_that_is_configured_as_the_chart_says(node):
    manifests = render(
        {
            "replicaCount": 2,
            "redis": {"bundled": {"enabled": True}},
            "relay": {"acrossReplicas": {"podCidrs": [f"{node.prefix}.0/24"]}},
        }
    )
    redis = Pod(node, manifests, component(manifests, "redis"), files={"data": {".keep": ""}})
    data = node.directory / "redis-data"
    data.mkdir()
    config = (redis.volumes["config"].path / "redis.conf").read_text().replace("dir /data", f"dir {data}")
    (data / "redis.conf").write_text(config)
    password = b64decode(named(manifests, "Secret", "demo-meetpoint-redis")["data"]["redis-password"]).decode()
    arguments = [each.replace("$(REDIS_PASSWORD)", password) for each in redis.spec["containers"][0]["args"]]
    command = ["ip", "netns", "exec", redis.namespace, "redis-server", data / "redis.conf", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        hosts = {"demo-meetpoint-redis": redis.address}
        for _ in range(2):
            container = Pod(node, manifests, component(manifests, "server"), hosts=hosts).container().started()
            until(lambda: "connected" in container.get(container.ports["http"], "/readyz")[1], lambda: container.log)
        stranger = subprocess.run(["ip", "netns", "exec", redis.namespace, "redis-cli", "ping"], capture_output=True, text=True)
        assert "NOAUTH" in stranger.stdout
    finally:
        process.kill()
        process.wait()
