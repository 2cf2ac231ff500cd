"""A release over its life, by Helm itself against an API that keeps objects: what is generated once must outlive every upgrade."""

import json
import os
import re
import subprocess
import time
from base64 import b64decode, b64encode
from datetime import datetime

import helm_python
import pytest
import yaml

from chart import CHART, ROOT, configuration, of_kind, render, render_text
from conftest import let_time_pass

NAME = "demo-meetpoint-secrets"


def secrets(api, name=NAME):
    return {key: b64decode(value).decode() for key, value in api.objects["Secret", name]["data"].items()}


def test_generated_secrets_outlive_upgrades_and_the_release(cluster):
    api, helm = cluster
    helm.install(CHART, "demo", {})
    first = secrets(api)
    assert sorted(first) == ["admin-tokens", "jwt-secrets", "nonce-secret", "turn-secrets"]
    assert len(set(first.values())) == 4 and all(len(value.strip()) >= 48 for value in first.values())
    helm.upgrade(CHART, "demo", {"logLevel": "debug", "admin": {"enabled": True}})
    assert secrets(api) == first
    helm.uninstall("demo")
    assert set(api.objects) == {("Secret", NAME)}
    helm.install(CHART, "demo", {})
    assert secrets(api) == first


def lines(api):
    return secrets(api)["turn-secrets"].split()


def rotated(number, **more):
    return {"secrets": {"rotation": number}} | more


def test_a_rotation_moves_each_secret_up_and_makes_a_new_next_one_once(cluster):
    api, helm = cluster
    helm.install(CHART, "demo", {})
    first = secrets(api)
    current, following = lines(api)
    helm.upgrade(CHART, "demo", rotated(1))
    second = lines(api)
    assert second[0] == following and second[2] == current, "what mints now was known, what minted still opens"
    assert len(set(second)) == 3 and len(second[1]) >= 48
    assert {**secrets(api), "turn-secrets": ""} == {**first, "turn-secrets": ""}, "the others stay"
    helm.upgrade(CHART, "demo", rotated(1, logLevel="debug"))
    assert lines(api) == second
    let_time_pass(api)
    helm.upgrade(CHART, "demo", rotated(2))
    third = lines(api)
    assert third[0] == second[1] and third[2] == second[0] and third[1] not in (current, *second)


def refusal(act):
    with pytest.raises(helm_python.HelmError) as refused:
        act()
    return str(refused.value)


def time_of(api):
    text = api.objects["Secret", NAME]["metadata"]["annotations"]["meetpoint/rotate-after"]
    return datetime.fromisoformat(text).timestamp() - time.time()


def test_a_rotation_waits_for_the_longest_credential_of_the_one_before(cluster):
    api, helm = cluster
    helm.install(CHART, "demo", {})
    helm.upgrade(CHART, "demo", {"credentials": {"maxTtl": "30m"}})
    helm.upgrade(CHART, "demo", rotated(1, credentials={"maxTtl": "30m"}))
    # Those of 12 h, from before it was lowered; and five minutes for the last pod to follow.
    assert 43_000 < time_of(api) <= 43_500
    before = lines(api)
    said = refusal(lambda: helm.upgrade(CHART, "demo", rotated(2, credentials={"maxTtl": "30m"})))
    assert "secrets.rotation: not before" in said and NAME in said and not any(secret in said for secret in before)
    assert lines(api) == before
    let_time_pass(api)
    helm.upgrade(CHART, "demo", rotated(2, config='[credentials]\nmax_ttl = "90m"\n'))
    # What was lowered before the last rotation counts no more; what `config` says, does.
    assert 5_600 < time_of(api) <= 5_700


@pytest.mark.parametrize("earlier", [["one"], ["one", "older"], ["one", *"abcdefg"]])
def test_a_release_of_the_earlier_chart_learns_a_next_secret_before_any_is_promoted(cluster, earlier):
    api, helm = cluster
    helm.install(CHART, "demo", {})
    secret = api.objects["Secret", NAME]
    secret["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep", "meetpoint/rotation": "4"}
    secret["data"]["turn-secrets"] = b64encode("\n".join([*earlier, ""]).encode()).decode()
    said = refusal(lambda: helm.upgrade(CHART, "demo", rotated(5)))
    assert "secrets.rotation=4 first" in said
    helm.upgrade(CHART, "demo", rotated(4))
    current, following, *rest = lines(api)
    assert [current, *rest] == earlier[:7] and following not in earlier, "eight at most"
    # One that was replaced may have minted until just now; a single one has not.
    assert (time_of(api) > 43_000) == (len(earlier) > 1) and time_of(api) > 200
    assert "not before" in refusal(lambda: helm.upgrade(CHART, "demo", rotated(5)))
    let_time_pass(api)
    helm.upgrade(CHART, "demo", rotated(5))
    promoted, _, previous = lines(api)
    assert (promoted, previous) == (following, "one")


def test_a_secret_that_leaked_is_replaced_at_once_when_its_key_is_removed(cluster):
    api, helm = cluster
    helm.install(CHART, "demo", {})
    leaked, others = lines(api), {key: text for key, text in secrets(api).items() if key != "turn-secrets"}
    del api.objects["Secret", NAME]["data"]["turn-secrets"]
    helm.upgrade(CHART, "demo", {})
    assert len(lines(api)) == 2 and not set(lines(api)) & set(leaked)
    assert {key: text for key, text in secrets(api).items() if key != "turn-secrets"} == others
    assert 200 < time_of(api) <= 300, "pods have to come to know the next one"


def test_what_is_installed_again_finds_its_secrets_whatever_its_values_say_of_rotations(cluster):
    api, helm = cluster
    helm.install(CHART, "demo", rotated(3))
    first = secrets(api)
    helm.uninstall("demo")
    helm.install(CHART, "demo", {})
    assert secrets(api) == first


def test_where_the_cluster_cannot_be_asked_no_secret_is_made_and_none_is_replaced():
    values = {"redis": {"bundled": {"enabled": True}}}
    blind = render_text(values, asks_cluster=False)
    for path, name in [("secret.yaml", NAME), ("redis/secret.yaml", "demo-meetpoint-redis")]:
        assert not any(yaml.safe_load_all(blind[path])) and f"# {name} is not made here" in blind[path]
    made = render_text(values)
    others = [path for path in made if path not in ("secret.yaml", "redis/secret.yaml", "NOTES.txt")]
    assert [blind[path] for path in others] == [made[path] for path in others], "all else is the same, at each rendering"
    assert of_kind(render(values), "Secret")


def test_the_password_of_redis_stays_and_is_the_one_in_its_configuration(cluster):
    api, helm = cluster
    values = {"redis": {"bundled": {"enabled": True}}}
    helm.install(CHART, "demo", values)
    first = secrets(api, "demo-meetpoint-redis")
    helm.upgrade(CHART, "demo", values)
    assert secrets(api, "demo-meetpoint-redis") == first
    assert list(first) == ["redis-password"] and len(first["redis-password"]) >= 48


def test_a_secret_of_the_operator_is_not_touched(cluster):
    api, helm = cluster
    helm.install(CHART, "demo", {"secrets": {"existingSecret": "mine"}})
    assert not [key for key in api.objects if key[0] == "Secret"]


KUBECTL = """#!/bin/sh
case "$3 $4 $5" in
"get secret meetpoint-secrets") cat "$SECRET" ;;
"patch secret meetpoint-secrets") shift; printf '%s' "${7}" >"$SECRET.patch" ;;
*) exit 1 ;;
esac
"""


def test_the_recipe_of_the_page_moves_the_lines_of_an_operators_secret_up(tmp_path):
    page = (ROOT / "docs/kubernetes.md").read_text()
    (recipe,) = [block for block in re.findall(r"```sh\n(.*?)```", page, re.S) if "patch secret meetpoint-secrets --type=merge" in block]
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    secret = tmp_path / "secret"
    was = ["one", "two"]
    for _ in range(3):
        secret.write_text("\n".join([*was, ""]))
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SECRET": str(secret)}
        subprocess.run(["sh", "-eu", "-c", recipe], env=environment, check=True, capture_output=True)
        patch = json.loads((tmp_path / "secret.patch").read_text())
        current, following, previous = patch["stringData"]["turn-secrets"].split("\n")[:3]
        assert (current, previous) == (was[1], was[0]) and len(following) == 64 and following not in was
        was = [current, following, previous]


def test_redis_in_the_release_takes_a_password_of_the_operator():
    values = {"redis": {"bundled": {"enabled": True}, "existingSecret": "mine", "existingSecretKey": "word"}}
    manifests = render(values)
    assert [each["metadata"]["name"] for each in of_kind(manifests, "Secret")] == [NAME]
    (redis,) = of_kind(manifests, "StatefulSet")
    (given,) = redis["spec"]["template"]["spec"]["containers"][0]["env"]
    assert given["valueFrom"] == {"secretKeyRef": {"name": "mine", "key": "word"}}
    assert 'redis_password_file = "/etc/meetpoint/redis/word"' in configuration(manifests)
