"""What several tests start from."""

import helm_python
import pytest

from api import Api


@pytest.fixture
def cluster():
    """An API that keeps objects, and Helm at it."""
    api = Api()
    with helm_python.Config(kubeconfig_content=api.kubeconfig, namespace="turn", storage_driver="memory") as helm:
        yield api, helm
    api.close()


def let_time_pass(api, name="demo-meetpoint-secrets"):
    """As if all that a rotation waits for had ended long ago."""
    annotations = api.objects["Secret", name]["metadata"]["annotations"]
    if "meetpoint/rotate-after" in annotations:
        annotations["meetpoint/rotate-after"] = "2020-01-01T00:00:00Z"
