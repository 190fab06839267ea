"""What belongs to a claim among all that was observed around it."""

import dataclasses
from typing import Any

import pytest

from provisioner.binding.matching.index import Index
from provisioner.binding.snapshot import Snapshot
from provisioner.model.attributes_class import AttributesClass
from provisioner.model.claim import Claim
from provisioner.model.pod import Pod
from tests.unit.provisioner.binding.objects import NAMESPACE, claim, manifest, node, pod, storage_class, volume, web

TWO = (web(templates=("www", "data")),)
WWW, DATA, LOGS = claim("www-web-0"), claim("data-web-0", vac="gold"), claim("logs")
GOLD = AttributesClass("gold", "csi.mooring.dev", {})


def of_pod(*claims: str, deleting: bool = False) -> Pod:
    """A pod that mounts these."""
    return dataclasses.replace(pod(), claims={name: name for name in claims}, deleting=deleting)


def observed(*claims: Claim, **others: Any) -> Snapshot:
    """These claims, a class, a node, and what the test adds."""
    found = {each.name: each for each in claims}
    usual: dict[str, Any] = {
        "volumes": Index([volume()]),
        "nodes": (node(),),
        "namespace_uid": NAMESPACE,
        "cluster_uid": "cluster",
        "stateful_sets": (),
        "pods": (),
        "claim": found.get,
        "storage_class": {"fast": storage_class()}.get,
        "attributes_class": {"gold": GOLD}.get,
    }
    return Snapshot(**{**usual, **others})


SIBLINGS: dict[str, tuple[dict[str, Any], list[str]]] = {
    # what tells: (the objects, the siblings of www-web-0)
    "a set": ({"stateful_sets": TWO}, ["data-web-0"]),
    "a set that goes": ({"stateful_sets": (web(templates=("www", "data"), deleting=True),)}, []),
    "a pod": ({"pods": (of_pod("www-web-0", "logs"),)}, ["logs"]),
    "a pod that goes": ({"pods": (of_pod("www-web-0", "logs", deleting=True),)}, []),
    "a pod of others": ({"pods": (of_pod("data-web-0", "logs"),)}, []),
    "both, in the order of names": ({"stateful_sets": TWO, "pods": (of_pod("www-web-0", "logs"),)}, ["data-web-0", "logs"]),
    "a pod that names what is not there": ({"pods": (of_pod("www-web-0", "gone"),)}, []),
    "nothing": ({}, []),
}  # fmt: skip


@pytest.mark.parametrize("what", SIBLINGS)
def test_which_claims_belong_to_one_pod_is_told_by(what: str) -> None:
    """The claim itself is none of its siblings."""
    others, names = SIBLINGS[what]

    assert [each.name for each in observed(WWW, DATA, LOGS, **others).siblings(WWW)] == names


def test_a_claim_and_its_siblings_have_each_their_own_surroundings() -> None:
    """What is the cluster's is the same for both; siblings have no siblings in turn."""
    pods = (of_pod("www-web-0"), of_pod("data-web-0"))
    mine, theirs = manifest(), manifest("b", claim_name="data-web-0")
    seen = observed(WWW, DATA, stateful_sets=TWO, pods=pods)
    facts = seen.facts(WWW, manifests={"www-web-0": (mine,), "data-web-0": (theirs,)})
    (sibling,) = facts.siblings

    assert (facts.claim, facts.manifests, facts.pods, facts.attributes_class) == (WWW, (mine,), pods[:1], None)
    assert (sibling.claim, sibling.manifests, sibling.pods, sibling.attributes_class) == (
        DATA,
        (theirs,),
        pods[1:],
        GOLD,
    )
    for each in (facts, sibling):
        assert (each.volumes, each.nodes, each.stateful_sets) == (seen.volumes, seen.nodes, TWO)
        assert (each.namespace_uid, each.cluster_uid, each.storage_class) == (NAMESPACE, "cluster", storage_class())
    assert (sibling.siblings, sibling.missing) == ((), ())


@pytest.mark.parametrize(
    ("claims", "sets", "missing"),
    [
        ((WWW,), TWO, ("data-web-0",)),
        ((WWW, DATA), TWO, ()),
        ((WWW,), (), ()),
        ((WWW,), (web(templates=("www", "data", "logs")),), ("data-web-0", "logs-web-0")),
    ],
)
def test_what_the_set_has_yet_to_make_is_missing(
    claims: tuple[Claim, ...], sets: Any, missing: tuple[str, ...]
) -> None:
    """A claim without a set misses nothing."""
    assert observed(*claims, stateful_sets=sets).facts(WWW, manifests={}).missing == missing


@pytest.mark.parametrize(
    ("others", "adopts"),
    [
        ({}, True),
        ({"storage_class": {"fast": storage_class(adopt="Claim")}.get}, True),
        ({"storage_class": {"fast": storage_class(adopt="Never")}.get}, False),
        ({"storage_class": {}.get}, False),
        ({"namespace_uid": ""}, False),
    ],
)
def test_the_driver_is_asked_about_claims_that_may_adopt(others: dict[str, Any], adopts: bool) -> None:
    """Not without a namespace whose UID is known, which tells whose a volume was."""
    assert observed(WWW, **others).adopts(WWW) is adopts
