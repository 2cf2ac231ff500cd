"""ops/prometheus/alerts.yml and alerts_test.yml, read by their shape: the standard library knows no YAML, promtool judges that."""

import re

from tables import ROOT

FILE = ROOT / "ops/prometheus/alerts.yml"
TESTS = ROOT / "ops/prometheus/alerts_test.yml"
RUNBOOKS = ROOT / "docs/runbook"
BASE = "https://example.org/meetpoint/docs/runbook/"


class Alert:
    def __init__(self, text):
        self.text = text
        self.name = re.match(r"\s*- alert: (\w+)\n", text).group(1)
        found = re.search(r"\n        expr: \|\n((?: {10}.*\n)+)|\n        expr: (.*)\n", text)
        self.expr = found.group(1) or found.group(2)
        self.severity = re.search(r"labels: \{severity: (\w+)\}", text).group(1)
        self.annotations = dict(re.findall(r"\n          (summary|description|runbook_url): '?(.*?)'?(?=\n)", text))


def alerts():
    """In the order of the file."""
    text = FILE.read_text()
    return [Alert(found.group()) for found in re.finditer(r"      - alert: \w+\n(?: {8}.*\n)+", text)]


def tests():
    """(head of the file, [text of each test])."""
    head, *rest = re.split(r"(?m)^(?=  - name: )", TESTS.read_text())
    return head, rest


def expected(test):
    """The (alert, severity) that a test expects to fire at some time."""
    return set(re.findall(r'alertname="(\w+)", severity="(\w+)"', test))
