"""Two meetpoints with everything switched on, Redis, a judge, a receiver of webhooks, and a Prometheus that scrapes: each on a
port of the kernel's choice, in a directory of its own, ended by its process id."""

import base64
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

SECRET = "a-shared-secret-of-32-characters"
TENANT = "another-secret-of-32-characters-"
ADMIN = "an-operators-token-of-32-characters"
TENANT_TOKEN = "a-tenants-token-of-32-characters"


def free(kind):
    """A port that nobody has; another process could take it before it is used, which the start then reports."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tcp():
    return free(socket.SOCK_STREAM)


def udp():
    return free(socket.SOCK_DGRAM)


def unpadded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """An identity provider with one key (ES256)."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())

    def keys(self):
        numbers = self.key.public_key().public_numbers()
        point = {name: unpadded(number.to_bytes(32, "big")) for name, number in (("x", numbers.x), ("y", numbers.y))}
        return json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "one", **point}]}).encode()

    def token(self, user, ends=3600):
        parts = [{"alg": "ES256", "typ": "JWT", "kid": "one"}, {"sub": user, "exp": int(time.time()) + ends}]
        text = ".".join(unpadded(json.dumps(part).encode()) for part in parts)
        r, s = utils.decode_dss_signature(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{unpadded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class Service(http.server.ThreadingHTTPServer):
    """The judge of tokens, the issuer's key set and the receiver of webhooks: `answers` maps a path to (status, body) or a function."""

    daemon_threads = True

    def __init__(self, answers):
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                found = service.answers.get(self.path, (404, b"{}"))
                status, text = found(body) if callable(found) else found
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        self.answers = answers
        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()


def judge(body):
    """The operator's own word about a token that a key has verified."""
    user = json.loads(body)["user"] or ""
    if user.startswith("broken"):
        return 500, b"{}"
    return 200, json.dumps({"allow": not user.startswith("denied")}).encode()


class Stage:
    """Everything that runs; use as a context."""

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="meetpoint-grafana."))
        self.processes, self.children, self.held, self.complaints = {}, [], [], []
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in [*self.children, *reversed(self.processes.values())]:
            if process.poll() is None:
                process.kill()
            process.wait()
        if not os.environ.get("MEETPOINT_KEEP"):
            shutil.rmtree(self.directory, ignore_errors=True)

    def run(self, name, *command, **more):
        log = open(self.directory / f"{name}.log", "wb")
        self.processes[name] = subprocess.Popen([str(part) for part in command], stdout=log, stderr=subprocess.STDOUT,
                                                stdin=subprocess.DEVNULL, cwd=self.directory, **more)
        return self.processes[name]

    def log(self, name):
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def wait(self, what, holds, seconds=40):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for name, process in self.processes.items():
                if process.poll() not in (None, 0):
                    raise AssertionError(f"{name} ended:\n{self.log(name)[-2000:]}")
            try:
                if holds():
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s: {what}")

    def start(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "key.pem", "-out",
                        "chain.pem"], cwd=self.directory, check=True, capture_output=True)
        self.issuer = Issuer()
        made = subprocess.run([os.environ.get("MEETPOINT", "meetpoint"), "keys", "make", "shop"], capture_output=True, text=True, check=True)
        self.key, digest = made.stdout.strip(), re.search(r'"(sha256:[0-9a-f]{64})"', made.stderr).group(1)
        self.key_section = f'\n[keys.shop]\nhashes = ["{digest}"]\nrate = "60/m"\nburst = 10\n'
        self.service = Service({"/judge": judge, "/keys": (200, self.issuer.keys()), "/events": (200, b"{}"), "/broken": (500, b"{}")})
        self.redis = tcp()
        self.run("redis", "redis-server", "--port", self.redis, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        self.peer = udp()
        self.run("peer", "turnutils_peer", "-L", "127.0.0.1", "-p", self.peer)
        self.wait("Redis", lambda: socket.create_connection(("127.0.0.1", self.redis), 1).close() or True)
        self.nodes = {name: self.meetpoint(name) for name in ("first", "second")}
        self.prometheus()
        self.wait("both are ready", lambda: all(self.get(node["http"], "/readyz")[0] == 200 for node in self.nodes.values()))
        # It answers 503 to everything until it has read what it stored.
        self.wait("Prometheus is ready", lambda: self.get(self.prometheus_port, "/-/ready")[0] == 200)
        self.wait("both are scraped", lambda: len(self.query("up == 1")) == 2)
        self.began = time.time()

    def meetpoint(self, name):
        ports = {"http": tcp(), "https": tcp(), "udp": udp(), "tls": tcp(), "dtls": udp(), "one": tcp()}
        low = {"first": (20000, 21999), "second": (22000, 22031)}[name]
        settings = {
            "http": {"listen": f"127.0.0.1:{ports['http']}", "listen_tls": f"127.0.0.1:{ports['https']}", "rate": "5/s", "burst": 60,
                     "compat": ["cloudflare", "twilio", "metered", "xirsys", "matrix", "stunner"], "max_connections_per_client": 64},
            "relay": {"listen": f"127.0.0.1:{ports['udp']}", "listen_tcp": f"127.0.0.1:{ports['udp']}",
                      "listen_tls": f"127.0.0.1:{ports['tls']}", "listen_dtls": f"127.0.0.1:{ports['dtls']}",
                      "external_ip": "127.0.0.1", "port_range": f"{low[0]}-{low[1]}", "tcp_relay": True, "mobility": True,
                      "stats_interval": "100ms", "workers": 2, "drain_timeout": "60s"},
            "streams": {"one_port": f"127.0.0.1:{ports['one']}", "websocket": True, "first_timeout": "2s", "max_connections_per_client": 24,
                        "idle_timeout": "5s", "queue_size": "64KiB"},
            "tls": {"certificates": f"{self.directory}/chain.pem:{self.directory}/key.pem", "reload_interval": "1s"},
            "peers": {"allow": ["127.0.0.0/8"], "deny": ["198.18.0.0/15"]},
            "credentials": {"secrets": [SECRET]},
            "limits": {"allocations_per_user": 6, "allocation_packets_per_second": 400, "user_bytes_per_second": "200KiB", "permissions": 8,
                       "channels": 4, "unauthenticated_per_second": 20, "allocations_per_client": 4096, "reservations": 2},
            "auth": {"hook_url": f"http://127.0.0.1:{self.service.port}/judge", "hook_secret": SECRET,
                     "jwks_url": f"http://127.0.0.1:{self.service.port}/keys", "failure_rate": "60/m", "failure_burst": 80},
            "signaling": {"node": name, "messages_per_second": 50, "message_burst": 50, "relay_bytes_per_second": "32KiB",
                          "relay_byte_burst": "32KiB", "peers_per_room": 16, "queue_size": "64KiB", "hello_timeout": "3s",
                          "connections_per_ip": 200, "peerjs_queue_messages": 8, "away_sessions": 1,
                          "connections": {"first": 200, "second": 6}[name]},
            "backplane": {"redis_url": f"redis://127.0.0.1:{self.redis}", "node_timeout": "3s"},
            "ice": {"host": ["127.0.0.1"]},
            # The own URLs, and one where nobody listens.
            "probes": {"own": "on", "interval": "1s", "timeout": "1s", "failures": 1},
            "usage": {"directory": f"{self.directory}/usage-{name}", "interval": "1s"},
            "admin": {"tokens": [f"operator={ADMIN}"]},
            "events": {"log": True, "subscribers": 2},
            "realms": {"acme": {"secrets": [TENANT], "tokens": [TENANT_TOKEN], "allocations": 4}},
        }
        if name == "first":
            settings["nat_discovery"] = {"addresses": ["127.0.0.1", "127.0.0.2"], "answers_per_second": 5}
            settings["relay"]["alternate_servers"] = [f"127.0.0.9:{ports['udp']}"]
        path = self.directory / f"{name}.toml"
        dead = '\n[[ice.extra]]\nurls = ["turn:127.0.0.1:9?transport=udp"]\nusername = "nobody"\ncredential = "nothing"\n'
        path.write_text(toml(settings) + self.key_section + dead + "".join(
            f'\n[[events.webhooks]]\nurl = "http://127.0.0.1:{self.service.port}/{where}"\nsecret = "{SECRET}"\n' for where in ("events", "broken")))
        environment = {"PATH": os.environ["PATH"]}
        program = os.environ.get("MEETPOINT", "meetpoint")
        ports["start"] = lambda: self.run(name, program, "serve", "--config", path, env=environment)
        ports["process"] = ports["start"]()
        ports["config"] = path
        return ports

    def killed_and_started(self, name):
        """As a supervisor would: at the same addresses."""
        node = self.nodes[name]
        node["process"].kill()
        node["process"].wait()
        node["process"] = node["start"]()
        self.wait(f"{name} is ready again", lambda: self.get(node["http"], "/readyz")[0] == 200)

    def prometheus(self):
        self.prometheus_port = tcp()
        targets = ", ".join(f"'127.0.0.1:{node['http']}'" for node in self.nodes.values())
        rules = os.environ.get("MEETPOINT_RULES", pathlib.Path(__file__).resolve().parents[3] / "ops/prometheus/alerts.yml")
        with_rules = f"rule_files: ['{rules}']\n" if pathlib.Path(rules).exists() else ""
        (self.directory / "prometheus.yml").write_text(
            f"global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n{with_rules}"
            f"scrape_configs:\n- job_name: meetpoint\n  static_configs:\n  - targets: [{targets}]\n")
        self.run("prometheus", "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
                 f"--web.listen-address=127.0.0.1:{self.prometheus_port}", "--log.level=warn")

    def get(self, port, path, token=None, method="GET", body=None, headers=()):
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, data=body)
        if token:
            request.add_header("authorization", f"Bearer {token}")
        for name, value in headers:
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()

    def query(self, expr, path="query", **more):
        """The result of a query, of now or (path `query_range`) of a time."""
        body = urllib.parse.urlencode({"query": expr, **more}).encode()
        status, text = self.get(self.prometheus_port, f"/api/v1/{path}", method="POST", body=body)
        assert status == 200, f"{expr}: {text[:300]}"
        return json.loads(text)["data"]["result"]


def toml(settings):
    def value(one):
        return json.dumps(one)
    lines = []
    for section, keys in settings.items():
        if all(isinstance(one, dict) for one in keys.values()):
            for name, inner in keys.items():
                lines += [f"[{section}.{name}]", *(f"{key} = {value(one)}" for key, one in inner.items())]
        else:
            lines += [f"[{section}]", *(f"{key} = {value(one)}" for key, one in keys.items())]
    return "\n".join(lines) + "\n"
