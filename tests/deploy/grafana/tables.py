"""What the program says about itself, read from the pages that a test holds equal to the code."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[3]

# Labels that Prometheus adds to whatever it scrapes.
TARGET_LABELS = {"job", "instance", "cluster", "namespace", "pod"}
# Series that are not ours.
FOREIGN = {
    "up": {},
    "ALERTS": {"alertname": None, "alertstate": {"firing", "pending"}, "severity": None, "realm": None},
}


class Metric:
    """`labels` maps a label to its values, or to None where the configuration or the build closes the set."""

    def __init__(self, name, kind, labels):
        self.name, self.kind, self.labels = name, kind, labels


def metrics():
    """Name -> Metric, from docs/metrics.md."""
    found = {}
    for line in (ROOT / "docs/metrics.md").read_text().splitlines():
        row = re.match(r"\| `(\w+)` \| (\w+) \| (.*?) \| (.*) \|$", line)
        if not row:
            continue
        name, kind, cell, _ = row.groups()
        labels = {}
        for part in filter(None, cell.split("<br>")):
            label, values = re.match(r"`(\w+)`: (.*)", part).groups()
            is_open = values.startswith("of this build") or "configuration" in values
            labels[label] = None if is_open else set(values.split(", "))
        found[name] = Metric(name, kind, labels)
    assert len(found) > 150, "docs/metrics.md is not read"
    return found


def configuration_keys():
    """Every `section.key`, from docs/configuration.md."""
    text = (ROOT / "docs/configuration.md").read_text()
    keys = set(re.findall(r"^### `([\w.]+)`", text, re.M))
    assert len(keys) > 150, "docs/configuration.md is not read"
    return keys
