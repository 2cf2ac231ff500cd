"""A release over its life, by Helm itself against an API that keeps objects: what is generated once must outlive every upgrade."""

from base64 import b64decode

import helm_python
import pytest

from api import Api
from chart import CHART

NAME = "demo-meetpoint-secrets"


@pytest.fixture
def cluster():
    api = Api()
    with helm_python.Config(kubeconfig_content=api.kubeconfig, namespace="turn", storage_driver="memory") as helm:
        yield api, helm
    api.close()


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


def test_a_rotation_keeps_the_newest_secret_beside_a_fresh_one_and_happens_once(cluster):
    api, helm = cluster
    helm.install(CHART, "demo", {})
    first = secrets(api)
    helm.upgrade(CHART, "demo", {"secrets": {"rotation": 1}})
    second = secrets(api)
    fresh, kept = second["turn-secrets"].split()
    assert kept == first["turn-secrets"].strip() != fresh
    assert {**second, "turn-secrets": ""} == {**first, "turn-secrets": ""}, "the others stay"
    helm.upgrade(CHART, "demo", {"secrets": {"rotation": 1}, "logLevel": "debug"})
    assert secrets(api) == second
    helm.upgrade(CHART, "demo", {"secrets": {"rotation": 2}})
    newest, kept = secrets(api)["turn-secrets"].split()
    assert kept == fresh and newest not in (fresh, first["turn-secrets"].strip())


def test_the_password_of_redis_stays_and_is_the_one_in_its_configuration(cluster):
    api, helm = cluster
    values = {"redis": {"bundled": {"enabled": True}}}
    helm.install(CHART, "demo", values)
    first = secrets(api, "demo-meetpoint-redis")
    helm.upgrade(CHART, "demo", values)
    assert secrets(api, "demo-meetpoint-redis") == first
    assert f">{first['redis-password']} " in first["redis.conf"]


def test_a_secret_of_the_operator_is_not_touched(cluster):
    api, helm = cluster
    helm.install(CHART, "demo", {"secrets": {"existingSecret": "mine"}})
    assert not [key for key in api.objects if key[0] == "Secret"]
