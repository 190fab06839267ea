"""Which of the observed objects belong to a claim and to its siblings."""

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


def of_pod(*claims: str, ephemeral: str = "", deleting: bool = False) -> Pod:
    """Return a pod that mounts these claims, one of them for an ephemeral volume."""
    return dataclasses.replace(
        pod(), claims={name: name for name in claims}, ephemeral=frozenset({ephemeral} - {""}), deleting=deleting
    )


def observed(*claims: Claim, **others: Any) -> Snapshot:
    """Return a snapshot of these claims, a class, a node, and the objects that the test adds."""
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
    # the relation: (the objects, the siblings of www-web-0)
    "a set": ({"stateful_sets": TWO}, ["data-web-0"]),
    "a set that is being deleted": ({"stateful_sets": (web(templates=("www", "data"), deleting=True),)}, []),
    "a pod": ({"pods": (of_pod("www-web-0", "logs"),)}, ["logs"]),
    "a pod that is being deleted": ({"pods": (of_pod("www-web-0", "logs", deleting=True),)}, []),
    "a pod of other claims": ({"pods": (of_pod("data-web-0", "logs"),)}, []),
    "both, in the order of names": ({"stateful_sets": TWO, "pods": (of_pod("www-web-0", "logs"),)}, ["data-web-0", "logs"]),
    "a pod with a claim for an ephemeral volume": ({"pods": (of_pod("www-web-0", "data-web-0", "logs", ephemeral="logs"),)}, ["data-web-0"]),
    "a pod whose claim for an ephemeral volume it is": ({"pods": (of_pod("www-web-0", "logs", ephemeral="www-web-0"),)}, []),
    "a pod that names a claim that does not exist": ({"pods": (of_pod("www-web-0", "gone"),)}, []),
    "nothing": ({}, []),
}  # fmt: skip


@pytest.mark.parametrize("what", SIBLINGS)
def test_siblings_are_determined_by(what: str) -> None:
    """A claim is not a sibling of itself."""
    others, names = SIBLINGS[what]

    assert [each.name for each in observed(WWW, DATA, LOGS, **others).siblings(WWW)] == names


def test_a_claim_and_each_sibling_have_separate_facts() -> None:
    """Facts about the cluster are the same for both; the facts of siblings contain no siblings."""
    pods = (of_pod("www-web-0"), of_pod("data-web-0"))
    own, other = manifest(), manifest("b", claim_name="data-web-0")
    seen = observed(WWW, DATA, stateful_sets=TWO, pods=pods)
    facts = seen.facts(WWW, manifests={"www-web-0": (own,), "data-web-0": (other,)})
    (sibling,) = facts.siblings

    assert (facts.claim, facts.manifests, facts.pods, facts.attributes_class) == (WWW, (own,), pods[:1], None)
    assert (sibling.claim, sibling.manifests, sibling.pods, sibling.attributes_class) == (
        DATA,
        (other,),
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
def test_claims_that_the_set_has_not_created_are_missing(
    claims: tuple[Claim, ...], sets: Any, missing: tuple[str, ...]
) -> None:
    """A claim without a StatefulSet has no missing siblings."""
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
def test_manifests_are_requested_only_for_claims_that_may_adopt(others: dict[str, Any], adopts: bool) -> None:
    """A claim adopts only where the UID of its namespace is known, since the owner is identified by it."""
    assert observed(WWW, **others).adopts(WWW) is adopts
