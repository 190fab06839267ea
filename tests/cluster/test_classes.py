"""Binding modes, reclaim policies, and the retention policies of a StatefulSet's claims."""

from collections.abc import Iterator

import pytest

from tests.cluster.running import Running
from tests.cluster.sets import (
    apply_all,
    bound,
    claim,
    events,
    hosts,
    placed,
    rolled_out,
    storage_class,
    web,
)
from tests.until import until

pytestmark = [pytest.mark.needs("cluster"), pytest.mark.timeout(600)]

CLASSES = [
    storage_class("test-immediate", binding="Immediate", adopt="Ordinal"),
    storage_class("test-wrong", size="large"),
    storage_class("test-contradiction", policy="Delete", adopt="Ordinal"),
]


@pytest.fixture(scope="module", autouse=True)
def classes(mooring: Running) -> Iterator[None]:
    """Create classes besides the shipped ones."""
    apply_all(mooring, *CLASSES)
    yield
    mooring.kubectl("delete", "storageclass", *(each["metadata"]["name"] for each in CLASSES))


def _volumes(cluster: Running, namespace: str) -> dict[str, str]:
    """Return volume → phase."""
    return {
        each["metadata"]["name"]: each["status"]["phase"]
        for each in cluster.json("get", "pv")["items"]
        if each["spec"].get("claimRef", {}).get("namespace") == namespace
    }


def _until_left(cluster: Running, namespace: str, volumes: dict[str, str]) -> None:
    until(lambda: _volumes(cluster, namespace) == volumes, f"what is left is {volumes}")


def test_immediate_claims_are_bound_without_a_pod_and_adopt_again(mooring: Running, namespace: str) -> None:
    """Mooring chooses the node, pods are scheduled to it, and claims adopt as with classes that wait."""
    mooring.apply(namespace, claim("alone", "test-immediate", size="64Mi"))
    until(lambda: bound(mooring, namespace), "a claim without a pod is bound")
    objects = web("test-immediate", podManagementPolicy="Parallel", size="64Mi")
    mooring.apply(namespace, *objects)
    rolled_out(mooring, namespace)
    before = bound(mooring, namespace)
    mooring.kubectl("-n", namespace, "delete", "statefulset/web")
    mooring.kubectl("-n", namespace, "delete", "pvc", "www-web-0", "www-web-1")
    mooring.apply(namespace, *objects)
    rolled_out(mooring, namespace)
    assert before == bound(mooring, namespace)
    assert hosts(mooring, namespace, 0, 1) == {"web-0": "web-0", "web-1": "web-1"}


def test_a_claim_that_waits_for_its_consumer_has_no_volume_before(mooring: Running, namespace: str) -> None:
    """With WaitForFirstConsumer, no volume is created before a pod uses the claim."""
    mooring.apply(namespace, claim("waits", "mooring-directory", size="64Mi"))
    until(
        lambda: "WaitForFirstConsumer" in events(mooring, namespace, "waits"), "an Event reports that the claim waits"
    )
    assert {} == bound(mooring, namespace)


def test_delete_deletes_and_retain_retains(mooring: Running, namespace: str) -> None:
    """After its claim was deleted, a volume with policy Delete is removed; one with Retain becomes Released."""
    for name in ("mooring-scratch", "mooring-directory"):
        objects = web(name, replicas=1, size="64Mi")
        mooring.apply(namespace, *objects)
        rolled_out(mooring, namespace)
        [volume] = bound(mooring, namespace).values()
        assert _volumes(mooring, namespace) == {volume: "Bound"}
        mooring.kubectl("-n", namespace, "delete", "statefulset/web")
        mooring.kubectl("-n", namespace, "delete", "pvc", "--all")
        kept = {volume: "Released"} if name == "mooring-directory" else {}
        _until_left(mooring, namespace, kept)


def test_claims_that_the_set_deletes_adopt_their_volumes_again(mooring: Running, namespace: str) -> None:
    """With persistentVolumeClaimRetentionPolicy Delete, on scaling and on deletion; the walk-through covers Retain."""
    policy = {"whenScaled": "Delete", "whenDeleted": "Delete"}
    objects = web("mooring-directory", size="64Mi", persistentVolumeClaimRetentionPolicy=policy)
    mooring.apply(namespace, *objects)
    rolled_out(mooring, namespace)
    before, nodes = bound(mooring, namespace), placed(mooring, namespace)
    mooring.kubectl("-n", namespace, "scale", "statefulset/web", "--replicas=1")
    until(lambda: list(bound(mooring, namespace)) == ["www-web-0"], "the second claim goes")
    mooring.kubectl("-n", namespace, "scale", "statefulset/web", "--replicas=2")
    rolled_out(mooring, namespace)
    assert before == bound(mooring, namespace)
    mooring.kubectl("-n", namespace, "delete", "statefulset/web")
    until(lambda: not bound(mooring, namespace), "all claims go")
    mooring.apply(namespace, *objects)
    rolled_out(mooring, namespace)
    assert (before, nodes) == (bound(mooring, namespace), placed(mooring, namespace))
    assert hosts(mooring, namespace, 0, 1) == {"web-0": "web-0", "web-1": "web-1"}


def test_two_claims_of_one_pod_get_volumes_on_one_node(mooring: Running, namespace: str) -> None:
    """New volumes are created on one node, and former volumes are adopted on it."""
    objects = web("mooring-directory", size="64Mi", templates=("www", "logs"), podManagementPolicy="Parallel")
    mooring.apply(namespace, *objects)
    rolled_out(mooring, namespace)
    before = bound(mooring, namespace)
    assert 4 == len(before)
    mooring.kubectl("-n", namespace, "delete", "statefulset/web")
    mooring.kubectl("-n", namespace, "delete", "pvc", "--all")
    mooring.apply(namespace, *objects)
    rolled_out(mooring, namespace)
    assert before == bound(mooring, namespace)


def test_an_event_says_why_a_class_cannot_be_used(mooring: Running, namespace: str) -> None:
    """I7: an unknown parameter, and adoption with reclaimPolicy Delete."""
    wrong = web("test-wrong", replicas=1, size="64Mi")
    mooring.apply(namespace, *wrong)
    until(
        lambda: "the parameter size is unknown; valid are" in events(mooring, namespace, "www-web-0"),
        "an Event reports it",
    )
    mooring.kubectl("-n", namespace, "delete", "statefulset/web", "pvc/www-web-0")
    mooring.apply(namespace, *web("test-contradiction", replicas=1, size="64Mi"))
    until(lambda: "contradict each other" in events(mooring, namespace, "www-web-0"), "an Event reports that, too")
    assert {} == bound(mooring, namespace)
