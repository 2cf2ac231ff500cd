"""A chart cannot reach outside of its directory: alerts and dashboards are copied into it, and stay what they are outside."""

import json
import os
import shutil

import pytest
import yaml

from chart import CHART, ROOT, objects, of_kind

COPIES = {"files/prometheus": ROOT.glob("ops/prometheus/*.yml"), "files/grafana": ROOT.glob("grafana/dashboards/*.json")}
# Tests of the alerts stand beside them.
COPIES = {place: sorted(path for path in paths if "test" not in path.stem) for place, paths in COPIES.items()}


@pytest.mark.parametrize("place", sorted(COPIES))
def test_the_copies_in_the_chart_are_what_they_are_copies_of(place):
    directory = CHART / place
    if os.environ.get("MEETPOINT_WRITE_DOCS"):
        shutil.rmtree(directory, ignore_errors=True)
        for source in COPIES[place]:
            directory.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, directory / source.name)
    copies = {path.name: path.read_bytes() for path in directory.glob("*")}
    assert copies == {path.name: path.read_bytes() for path in COPIES[place]}, "run MEETPOINT_WRITE_DOCS=1 bash ops/test.sh helm"


def test_every_alert_is_in_the_rule():
    (rule,) = of_kind(objects("everything"), "PrometheusRule") or [{"spec": {"groups": []}}]
    wanted = [group for path in COPIES["files/prometheus"] for group in yaml.safe_load(path.read_text())["groups"]]
    assert rule["spec"]["groups"] == wanted


def test_every_dashboard_is_in_a_map_that_the_sidecar_finds():
    maps = [each for each in of_kind(objects("everything"), "ConfigMap") if each["metadata"]["labels"].get("grafana_dashboard") == "1"]
    found = {name: json.loads(text) for each in maps for name, text in each["data"].items()}
    assert found == {path.name: json.loads(path.read_text()) for path in COPIES["files/grafana"]}
    assert all(len(str(each)) < 900_000 for each in maps), "an object has 1 MiB at most"
