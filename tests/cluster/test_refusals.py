"""A refusal is recorded on the claim while the real scheduler writes to it."""

import json
from collections.abc import Iterator

import pytest

from provisioner.model.names import LAST_REFUSAL
from tests.cluster.objects import pod
from tests.cluster.running import Running
from tests.cluster.sets import Json, apply_all, bound, claim, storage_class
from tests.until import until

pytestmark = [pytest.mark.needs("cluster"), pytest.mark.timeout(600)]

REFUSED = storage_class("test-refused", adopt="Never", backend="loop", **{"csi.storage.k8s.io/fstype": "xfs"})
"""xfs needs some hundred MiB, so that the driver refuses smaller volumes on every node."""

PODS = 6
"""Created at once, so that the scheduler often writes to one of the claims."""


@pytest.fixture(autouse=True)
def refusing_class(mooring: Running) -> Iterator[None]:
    """Create the class whose volumes are refused."""
    apply_all(mooring, REFUSED)
    yield
    mooring.kubectl("delete", "storageclass", REFUSED["metadata"]["name"])


def test_refusals_are_recorded_and_never_conflict_with_the_scheduler(mooring: Running, namespace: str) -> None:
    """The record is written by the patch that removes the selected node, so that PreBind meets no other write of Mooring."""
    names = [f"c{number}" for number in range(PODS)]
    for name in names:
        volume = {"name": "v", "persistentVolumeClaim": {"claimName": name}}
        mooring.apply(namespace, claim(name, "test-refused", size="16Mi"), pod(name, volumes=[volume]))

    until(lambda: len(_refusals(mooring, namespace)) == PODS, "each claim records why it has no volume", seconds=120)
    assert {each["code"] for each in _refusals(mooring, namespace).values()} <= {"OUT_OF_RANGE", "INVALID_ARGUMENT"}
    assert all(each["message"] for each in _refusals(mooring, namespace).values())
    assert {} == bound(mooring, namespace)
    conflicts = [each["message"] for each in _events(mooring, namespace) if "has been modified" in each["message"]]
    assert conflicts == []


def _refusals(cluster: Running, namespace: str) -> dict[str, Json]:
    """Return claim → its last refusal."""
    annotations = {
        each["metadata"]["name"]: each["metadata"].get("annotations", {}).get(LAST_REFUSAL)
        for each in cluster.json("-n", namespace, "get", "pvc")["items"]
    }
    return {name: json.loads(text) for name, text in annotations.items() if text}


def _events(cluster: Running, namespace: str) -> list[Json]:
    found: list[Json] = cluster.json("-n", namespace, "get", "events")["items"]
    return found
