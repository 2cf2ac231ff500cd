"""What users, strangers and operators do to the stage: each of it bounded, none of it relied on for its exact number."""

import asyncio
import base64
import hashlib
import hmac
import json
import signal
import socket
import subprocess
import time
import traceback

import websockets
from aioice import stun

from stage import ADMIN, SECRET, TENANT, TENANT_TOKEN


def uclient(stage, node, *flags, user="ann", secret=SECRET, messages=60, peer=True, port=None, seconds=40):
    """coturn's client; its exit code is not asked for, since much of this is meant to fail."""
    echo = ["-e", "127.0.0.1", "-r", stage.peer] if peer else ["-y"]
    command = ["turnutils_uclient", "-p", port or node["udp"], "-u", user, "-W", secret, "-n", messages, "-z", "20", *flags, *echo, "127.0.0.1"]
    return child(stage, command)


def child(stage, command, **more):
    """A program that ends with the stage at the latest."""
    stage.children.append(subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                           cwd=stage.directory, **more))
    return stage.children[-1]


def credential(user="ann", secret=SECRET, ends=3600):
    username = f"{int(time.time()) + ends}:{user}"
    return username, base64.b64encode(hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()).decode()


class Client:
    """A TURN client over UDP that does what it is told, also what it should not."""

    def __init__(self, port, username, password, host="127.0.0.1"):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(2)
        self.server, self.username, self.password = (host, port), username, password
        self.realm = self.nonce = self.key = None

    def ask(self, method, attributes=(), signed=True):
        message = stun.Message(message_method=method, message_class=stun.Class.REQUEST)
        for name, value in attributes:
            message.attributes[name] = value
        if signed and self.nonce:
            message.attributes["USERNAME"], message.attributes["REALM"], message.attributes["NONCE"] = self.username, self.realm, self.nonce
            message.add_message_integrity(self.key)
        self.socket.sendto(bytes(message), self.server)
        try:
            return stun.parse_message(self.socket.recv(2000))
        except (OSError, ValueError):
            return None

    def allocate(self, **more):
        wish = [("REQUESTED-TRANSPORT", 0x11000000), *more.items()]
        answer = self.ask(stun.Method.ALLOCATE, wish)
        if answer is not None and "NONCE" in answer.attributes:
            self.realm, self.nonce = answer.attributes["REALM"], answer.attributes["NONCE"]
            self.key = hashlib.md5(f"{self.username}:{self.realm}:{self.password}".encode()).digest()
            answer = self.ask(stun.Method.ALLOCATE, wish)
        return answer

    def permit(self, address):
        return self.ask(stun.Method.CREATE_PERMISSION, [("XOR-PEER-ADDRESS", (address, 9))])

    def bind(self, number, address, port=9):
        return self.ask(stun.Method.CHANNEL_BIND, [("CHANNEL-NUMBER", number), ("XOR-PEER-ADDRESS", (address, port))])

    def refresh(self, lifetime):
        return self.ask(stun.Method.REFRESH, [("LIFETIME", lifetime)])


CLOSED = ["10.0.0.1", "192.168.1.1", "169.254.169.254", "169.254.1.1", "100.64.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", "192.0.2.1",
          "198.18.0.1", "240.0.0.1", "192.0.0.1"]


def misuse(stage, node):
    """Closed peers, full tables, wrong passwords, junk, and answers asked for without end."""
    client = Client(node["udp"], *credential("mallory"))
    client.allocate()
    for address in CLOSED:
        client.permit(address)
        client.bind(0x4000, address)
    for last in range(12):
        client.permit(f"127.0.1.{last}")
        client.bind(0x4001 + last, f"127.0.1.{last}")
    data = b"x" * 160
    client.bind(0x4001, "127.0.0.1", stage.peer)
    for _ in range(3000):
        client.socket.sendto(b"\x40\x01" + len(data).to_bytes(2, "big") + data, client.server)
    for username, password in [credential("eve", "not the secret of this server at all"), credential("old", ends=-100), ("nobody", "nothing")]:
        for _ in range(4):
            Client(node["udp"], username, password).allocate()
    crowd = [Client(node["udp"], *credential("greedy")) for _ in range(10)]
    for one in crowd:
        one.allocate()
    tenants = [Client(node["udp"], *credential("tenant@acme", TENANT)) for _ in range(3)]
    tenants += [Client(node["udp"], *credential("other@acme", TENANT)) for _ in range(3)]
    for one in tenants:
        one.allocate()
        one.bind(0x4001, "127.0.0.1", stage.peer)
        for _ in range(50):
            one.socket.sendto(b"\x40\x01" + len(data).to_bytes(2, "big") + data, one.server)
    for one in crowd[:5]:
        one.refresh(600)
        one.refresh(0)
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(200):
        stranger.sendto(b"not a word of STUN", ("127.0.0.1", node["udp"]))
        stranger.sendto(bytes(stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)), ("127.0.0.1", node["udp"]))
        stranger.sendto(b"\x40\x01\x00\x04gone", ("127.0.0.1", node["udp"]))
    return [client, *crowd[5:], *tenants]


def streams(stage, node):
    """Connections that are opened and not used, or used for something else."""
    for port in (node["udp"], node["tls"], node["one"]):
        for first in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05junk!"):
            one = socket.create_connection(("127.0.0.1", port), 5)
            one.sendall(first)
            stage.held.append(one)
    for _ in range(40):
        stage.held.append(socket.create_connection(("127.0.0.1", node["udp"]), 5))
    child(stage, ["openssl", "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{node['dtls']}", "-quiet"], stdin=subprocess.PIPE)


def api(stage, node):
    """Lists for who may, and answers for who may not."""
    port = node["http"]
    for number in range(12):
        stage.get(port, f"/api/ice-servers?ttl={600 + number}", token=stage.issuer.token(f"user{number}"))
        stage.get(port, "/v1/ice", token=TENANT_TOKEN)
        stage.get(port, "/api/ice-servers", token="bad")
        stage.get(port, "/api/ice-servers")
    for _ in range(15):
        stage.get(port, "/api/ice-servers", token=stage.key)
        stage.get(port, "/api/ice-servers", token=stage.key[:-6] + "000000")
    stage.get(port, "/api/ice-servers?ttl=never", token=stage.issuer.token("user1"))
    stage.get(port, "/v1/turn?service=turn", token=stage.issuer.token("user1"))
    for number in range(3):
        stage.get(port, "/api/ice-servers", token=stage.issuer.token(f"broken-{number}"))
        stage.get(port, "/api/ice-servers", token=stage.issuer.token(f"denied-{number}"))
        stage.get(port, "/api/ice-servers", token=stage.issuer.token("late", ends=-600))
    stage.get(port, "/_matrix/client/v3/voip/turnServer", token=stage.issuer.token("user1"))
    for path in ("/healthz", "/health", "/api/health", "/api/signaling/stats", "/", "/client.js", "/nothing/here"):
        stage.get(port, path)
    stage.get(port, "/api/ice-servers", method="OPTIONS", headers=[("origin", "https://app.example.org"), ("access-control-request-method", "GET")])
    for path in ("/api/admin/allocations", "/api/admin/revocations", "/v1/rooms", "/v1/bans"):
        stage.get(port, path, token=ADMIN)
        stage.get(port, path, token="no operators token")
    stage.get(port, "/api/admin/revocations", token=ADMIN, method="POST", body=json.dumps({"user": "mallory", "until": int(time.time()) + 600}).encode(),
              headers=[("content-type", "application/json")])
    for _ in range(120):
        stage.get(port, "/v1/ice")


async def hub(stage, node, other, turn):
    """Rooms over two replicas, presence, data, errors, slow readers, and people who come back."""
    def connect(where, path="/v1/ws", **more):
        return websockets.connect(f"ws://127.0.0.1:{where['http']}{path}", open_timeout=10, close_timeout=1, **more)

    async def hello(socket, peer, **more):
        peer = f"{peer}of{turn}"  # Who was banned stays so.
        await socket.send(json.dumps({"t": "hello", "v": [1], "id": 1, "peer": peer, "token": stage.issuer.token(peer), "caps": ["resume"], **more}))
        return json.loads(await asyncio.wait_for(socket.recv(), 10))

    async def say(socket, **message):
        await socket.send(json.dumps(message))

    sockets, welcomes = [], []
    for index, where in enumerate([node, other, node, other, node]):
        socket = await connect(where)
        welcomes.append(await hello(socket, f"peer{index}"))
        await say(socket, t="join", id=2, room="demo", meta={"name": "x"})
        await say(socket, t="join", id=3, room=f"own-{index}")
        sockets.append(socket)
    await asyncio.sleep(1)
    redis = stage.processes["redis"]
    for number in range(15):
        if number in (5, 10):
            redis.send_signal(signal.SIGSTOP if number == 5 else signal.SIGCONT)
        for index, socket in enumerate(sockets):
            await say(socket, t="sig", room="demo", to=f"peer{(index + 1) % 5}of{turn}", kind="offer", data={"sdp": "v=0"})
            await say(socket, t="send", room="demo", data="x" * 300)
            await say(socket, t="ping", id=number)
        await asyncio.sleep(0.15)
    first = sockets[0]
    for message in ({"t": "who", "id": 9, "room": "demo"}, {"t": "ice", "id": 10}, {"t": "nonsense"}, {"t": "sig", "id": 11, "room": "demo", "to": "nobody", "kind": "offer", "data": 1},
                    {"t": "meta", "id": 12, "room": "demo", "set": {"a": 1}}, {"t": "leave", "id": 13, "room": "own-0"}):
        await first.send(json.dumps(message))
    for _ in range(12):
        await say(sockets[1], t="send", room="demo", data="y" * 8000)
    await asyncio.sleep(0.5)
    # Away, and back.
    sid = welcomes[2].get("sid"), welcomes[2].get("key")
    sockets[2].transport.abort()
    await asyncio.sleep(1.6)
    again = await connect(node)
    await hello(again, "peer2", resume={"sid": sid[0], "key": sid[1], "seq": 1})
    sockets[2] = again
    for index in (7, 8):
        gone = await connect(node)
        await hello(gone, f"peer{index}")
        gone.transport.abort()
    crowd = [await connect(other) for _ in range(3)]
    for _ in range(6):
        try:
            crowd.append(await connect(other))
        except websockets.InvalidStatus:
            pass
    for one in crowd:
        await one.close()
    wrong = await connect(node)
    await hello(wrong, "peer9", resume={"sid": "A" * 16, "key": "B" * 32, "seq": 1})
    sockets.append(wrong)
    taken = await connect(node)
    await hello(taken, "peer4")
    await say(taken, t="join", id=2, room="demo")
    sockets.append(taken)
    for token in ("bad", None):
        refused = await connect(node)
        await refused.send(json.dumps({"t": "hello", "v": [1], "id": 1, "token": token}))
        sockets.append(refused)
    sockets.append(await connect(node))
    # In a loop, until put out.
    loud = await connect(node)
    await hello(loud, "loud")
    try:
        for _ in range(3000):
            await loud.send('{"t":"ping","id":1}')
    except websockets.ConnectionClosed:
        pass
    # Somebody who does not read while the room is told much.
    await say(first, t="room", id=20, room="demo", set={"topic": "x" * 500})
    for path in ("/v1/rooms/demo/kick",):
        stage.get(node["http"], path, token=ADMIN, method="POST", body=json.dumps({"peer": f"peer3of{turn}", "ban_seconds": 600}).encode(),
                  headers=[("content-type", "application/json")])
    stage.get(node["http"], "/v1/rooms/own-2/close", token=ADMIN, method="POST", body=b"{}", headers=[("content-type", "application/json")])
    banned = await connect(node)
    try:
        await hello(banned, "peer3")
    except websockets.ConnectionClosed:
        pass
    # PeerJS: a letter for nobody.
    try:
        letters = await connect(node, f"/peerjs?key=peerjs&id=solo&token=tok1&version=1.5.5&access_token={stage.issuer.token('solo')}")
        await letters.send(json.dumps({"type": "OFFER", "dst": "nobody-there", "payload": {}}))
        sockets.append(letters)
    except (websockets.InvalidStatus, websockets.ConnectionClosed, OSError):
        pass
    await asyncio.sleep(1)
    for socket in sockets[3:5]:
        await socket.close()
    return sockets


async def turn_over_websocket(stage, node):
    """An Allocate by WebSocket: the bytes that TCP would carry."""
    username, password = credential("webby")
    async with websockets.connect(f"ws://127.0.0.1:{node['http']}/turn", subprotocols=["turn"]) as socket:
        ask = stun.Message(message_method=stun.Method.ALLOCATE, message_class=stun.Class.REQUEST)
        ask.attributes["REQUESTED-TRANSPORT"] = 0x11000000
        await socket.send(bytes(ask))
        refused = stun.parse_message(await socket.recv())
        again = stun.Message(message_method=stun.Method.ALLOCATE, message_class=stun.Class.REQUEST)
        again.attributes.update({"REQUESTED-TRANSPORT": 0x11000000, "USERNAME": username, "REALM": refused.attributes["REALM"],
                                 "NONCE": refused.attributes["NONCE"]})
        again.add_message_integrity(hashlib.md5(f"{username}:{refused.attributes['REALM']}:{password}".encode()).digest())
        await socket.send(bytes(again))
        await socket.recv()
        await asyncio.sleep(8)


def reload(stage, node):
    """A change, a mistake, and the change again; a new certificate, and files that do not fit."""
    path, text = node["config"], node["config"].read_text()
    path.write_text(text.replace('"198.18.0.0/15"', '"198.18.0.0/15", "127.0.1.0/24"'))
    node["process"].send_signal(signal.SIGHUP)
    time.sleep(1)
    path.write_text(text + "\n[nonsense]\nx = 1\n")
    node["process"].send_signal(signal.SIGHUP)
    time.sleep(1)
    path.write_text(text.replace("workers = 2", "workers = 3"))
    node["process"].send_signal(signal.SIGHUP)
    chain = stage.directory / "chain.pem"
    good = chain.read_text()
    chain.write_text("not a certificate")
    time.sleep(2.5)
    chain.write_text(good)


def everything(stage):
    """Some twenty seconds of it all."""
    first, second = stage.nodes["first"], stage.nodes["second"]
    clients, tools = [], []
    for round_number in range(2):
        for node in (first, second):
            tools += [
                uclient(stage, node, "-c", user="ann"), uclient(stage, node, "-c", "-s", user="ben"), uclient(stage, node, "-t", "-c", user="cat"),
                uclient(stage, node, "-t", "-S", "-c", user="dan", port=node["tls"]),
                uclient(stage, node, "-S", "-c", user="eli", port=node["dtls"]),
                uclient(stage, node, user="fay", peer=False), uclient(stage, node, "-M", "-c", user="gus"), uclient(stage, node, user="ivy"),
                uclient(stage, node, "-T", "-m", "2", user="hal", peer=False),
                uclient(stage, node, "-c", user="tess@acme", secret=TENANT),
            ]
        tools.append(child(stage, ["turnutils_natdiscovery", "-m", "-f", "-p", first["udp"], "127.0.0.1"]))

        async def conversations():
            return await asyncio.gather(hub(stage, first, second, round_number), turn_over_websocket(stage, first), turn_over_websocket(stage, second),
                                        return_exceptions=True)

        # Honest users first: what comes then uses up what an address may.
        stage.complaints += ["".join(traceback.format_exception(result)) for result in asyncio.run(conversations()) if isinstance(result, Exception)]
        for node in (first, second):
            clients += misuse(stage, node)
            streams(stage, node)
            api(stage, node)
        reload(stage, first)
        if round_number == 0:
            stage.killed_and_started("second")
        stage.get(second["http"], "/api/admin/reload", token=ADMIN, method="POST")
    for number in range(120):
        stage.get(second["http"], "/api/ice-servers", token=f"bad-{number}")
    for tool in tools:
        try:
            tool.wait(60)
        except subprocess.TimeoutExpired:
            tool.kill()
            tool.wait()
    return clients


def redirect(stage):
    """The first drains: new clients are sent elsewhere, those of the hub too."""
    first = stage.nodes["first"]
    holder = Client(first["udp"], *credential("holder"))
    holder.allocate()
    first["process"].send_signal(signal.SIGTERM)
    time.sleep(1.5)
    for _ in range(5):
        Client(first["udp"], *credential("late")).allocate()
    time.sleep(2.5)
    return holder
