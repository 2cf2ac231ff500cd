"""Alerts and dashboards: the files in the chart, which tests/deploy/main.rs keeps equal to those outside, as objects."""

import json

import yaml

from chart import CHART, objects, of_kind


def files(pattern):
    return sorted((CHART / "files").glob(pattern))


def test_every_alert_is_in_the_rule():
    (rule,) = of_kind(objects("everything"), "PrometheusRule") or [{"spec": {"groups": []}}]
    wanted = [group for path in files("prometheus/*.yml") for group in yaml.safe_load(path.read_text())["groups"]]
    assert rule["spec"]["groups"] == wanted


def test_every_dashboard_is_in_a_map_that_the_sidecar_finds():
    maps = [each for each in of_kind(objects("everything"), "ConfigMap") if each["metadata"]["labels"].get("grafana_dashboard") == "1"]
    found = {name: json.loads(text) for each in maps for name, text in each["data"].items()}
    assert found == {path.name: json.loads(path.read_text()) for path in files("grafana/*.json")}
    assert all(len(str(each)) < 900_000 for each in maps), "an object has 1 MiB at most"
