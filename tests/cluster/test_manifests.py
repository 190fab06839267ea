"""A real API server with strict validation accepts the shipped manifests."""

from collections.abc import Iterator

import pytest

from tests.cluster.running import Running
from tests.unit.deploy.rendering import DEPLOY, NAMESPACE, OVERLAYS, overlay

pytestmark = pytest.mark.needs("cluster")

ADMISSION = DEPLOY / "base" / "admission.yaml"


@pytest.fixture(scope="module")
def asked(cluster: Running) -> Iterator[Running]:
    """Create the namespace, which a dry run does not create for the objects in it."""
    there = cluster.kubectl("get", "--ignore-not-found", "-o", "name", "namespace", NAMESPACE)
    cluster.kubectl("apply", "--server-side", "-f", str(DEPLOY / "base" / "namespace.yaml"))
    yield cluster
    if not there:
        cluster.kubectl("delete", "--ignore-not-found", "-f", str(ADMISSION))
        cluster.kubectl("delete", "namespace", NAMESPACE)


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_object_of_an_overlay_is_accepted(asked: Running, name: str) -> None:
    """The server would refuse unknown fields and invalid expressions."""
    folder = str(DEPLOY / "overlays" / name)
    strict = ["--server-side", "--force-conflicts", "--validate=strict", "--dry-run=server", "-o", "name"]
    taken = asked.kubectl("apply", *strict, "-k", folder).split()

    assert len(taken) == len(overlay(name))


def test_the_admission_policies_have_no_type_errors(asked: Running) -> None:
    """The server checks their expressions and would warn of unknown fields."""
    asked.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ADMISSION))
    for policy in ("volumes", "nodes", "claims"):
        name = f"mooring-controller-{policy}"
        looked = ["wait", f"validatingadmissionpolicy/{name}", "--for=jsonpath={.status.observedGeneration}"]
        asked.kubectl(*looked, "--timeout=60s")
        assert asked.json("get", "validatingadmissionpolicy", name)["status"].get("typeChecking", {}) == {}
