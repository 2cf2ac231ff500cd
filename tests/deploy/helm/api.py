"""As much of the Kubernetes API as Helm needs to install, upgrade and remove a release: discovery, and objects that are kept as they
come. Nothing is checked here and nothing runs; `lookup` finds what an earlier revision made, which is what it is for."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

# group/version → plural → kind
KINDS = {
    "v1": {"secrets": "Secret", "configmaps": "ConfigMap", "services": "Service", "serviceaccounts": "ServiceAccount", "pods": "Pod"},
    "apps/v1": {"deployments": "Deployment", "daemonsets": "DaemonSet", "statefulsets": "StatefulSet"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy", "ingresses": "Ingress"},
}
VERBS = ["get", "list", "create", "update", "patch", "delete", "watch"]


def base(version):
    return f"/api/{version}" if version == "v1" else f"/apis/{version}"


def discovery(kinds_of):
    groups = [version for version in kinds_of if "/" in version]
    named = [{"groupVersion": version, "version": version.split("/")[1]} for version in groups]
    found = {
        "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
        "/openapi/v3": {"paths": {}},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {
            "kind": "APIGroupList",
            "groups": [{"name": each["groupVersion"].split("/")[0], "versions": [each], "preferredVersion": each} for each in named],
        },
    }
    for version, kinds in kinds_of.items():
        resources = [{"name": name, "namespaced": True, "kind": kind, "verbs": VERBS} for name, kind in kinds.items()]
        found[base(version)] = {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
    return found


class Api:
    """A server on loopback; what was put into it is in `objects` by (kind, name). What it has beside the usual: {group/version: {plural: kind}}."""

    def __init__(self, more_kinds=None):
        self.kinds = KINDS | (more_kinds or {})
        self.objects, self.discovery = {}, discovery(self.kinds)
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body are two writes: each answer would wait for an acknowledgement in between.
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                code, content = api.answer(self.command, self.path, body)
                # Schemas of objects are in a format of its own; an empty one is none.
                content = b"" if content is None else json.dumps(content).encode()
                kind = "application/json" if content else "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    @property
    def kubeconfig(self):
        cluster = {"server": f"http://127.0.0.1:{self.server.server_port}"}
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "turn"}}],
                "current-context": "c",
            }
        )

    def answer(self, method, path, body):
        path, _, query = path.partition("?")
        if path == "/openapi/v2":
            return 200, None
        if path in self.discovery:
            return 200, self.discovery[path]
        for version, kinds in self.kinds.items():
            start = f"{base(version)}/namespaces/turn/"
            if path.startswith(start):
                plural, _, name = path.removeprefix(start).partition("/")
                return self.of_kind(method, version, kinds[plural], name, body, "dryRun" in query)
        return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}

    def of_kind(self, method, version, kind, name, body, dry_run):
        missing = 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        if method == "GET" and name:
            return (200, self.objects[kind, name]) if (kind, name) in self.objects else missing
        if method == "GET":
            items = [each for (other, _), each in self.objects.items() if other == kind]
            return 200, {"kind": f"{kind}List", "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items}
        if method == "DELETE":
            return (200, self.objects.pop((kind, name))) if (kind, name) in self.objects else missing
        # Server-side apply sends YAML, which JSON is as well.
        given = yaml.safe_load(body)
        if "stringData" in given:
            plain = given.pop("stringData")
            given["data"] = given.get("data", {}) | {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
        given["metadata"] |= {"uid": "1", "resourceVersion": "1"}
        if not dry_run:
            self.objects[kind, given["metadata"]["name"]] = given
        return 200, given
