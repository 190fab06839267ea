"""The facts of the golden situations of decisions, by what is special in them."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from provisioner.binding.facts import Facts
from provisioner.model import names
from provisioner.model.attributes_class import AttributesClass
from tests.unit.provisioner.binding import test_data_sources
from tests.unit.provisioner.binding.adoption.test_evaluate import FORMER, beside, facts
from tests.unit.provisioner.binding.objects import claim, manifest, node, pod, storage_class, volume, web

ELSEWHERE = {
    "nodeSelectorTerms": [
        {"matchExpressions": [{"key": "pool.mooring.dev/2", "operator": "In", "values": ["present"]}]},
    ]
}


def all_facts() -> Iterator[tuple[str, Facts]]:
    """Yield each situation with its name."""
    yield from _facts_of_unrecorded_ordinals()
    yield from _facts_of_the_binder()
    yield from _facts_of_siblings()
    yield from _facts_of_former_volumes()
    yield from _facts_of_other_clusters()


def _facts_of_unrecorded_ordinals() -> Iterator[tuple[str, Facts]]:
    unclear = dataclasses.replace(manifest(), holder={**manifest().holder, names.HOLDER_STATEFUL_SET: "web"})
    yield "of an ordinal that was not recorded", facts(manifests=(unclear,))
    yield "of an ordinal that was not recorded, of no set", facts(manifests=(unclear,), stateful_sets=())


def _facts_of_the_binder() -> Iterator[tuple[str, Facts]]:
    yield "bound", facts(claim=claim(volume="pv", bound=True), volumes=(volume(ref=("www-web-0", "new")),))
    yield "bound, without a claimRef", facts(claim=claim(volume="pv", bound=True), volumes=(volume(),))
    yield "lost to another", facts(claim=claim(volume="pv", bound=True), volumes=(volume(ref="other"),))
    yield "lost", facts(claim=claim(volume="pv", bound=True))
    yield "names a volume that does not exist", facts(claim=claim(volume="pv"))
    yield "names one", facts(claim=claim(volume="pv"), volumes=(volume("x"), volume()))
    yield "reserved", facts(volumes=(volume("x"), volume("reserved", ref="www-web-0", size="9Gi")))
    yield "being deleted", facts(claim=claim(deleting=True, node="n1"), volumes=(volume("free", cls="y"),))
    yield "fits", facts(claim=claim(node="n1"), storage_class=storage_class(waits=False), volumes=(volume("free"),))
    yield "no class", facts(claim=claim(cls=""), storage_class=None)
    yield "unknown class", facts(claim=claim(cls="gone"), storage_class=None)
    yield "static class", facts(storage_class=storage_class(provisioner="kubernetes.io/no-provisioner"))
    yield "nameless provisioner", facts(storage_class=storage_class(provisioner=""))
    yield "foreign class", facts(storage_class=storage_class(provisioner="other.example"))
    yield "bad parameters", facts(storage_class=storage_class(parameters={"pol": "x"}))
    yield "contradictory class", facts(storage_class=storage_class(policy="Delete", adopt="Claim"))
    yield "unknown attributes", facts(claim=claim(vac="gold", node="n1"))
    foreign = AttributesClass("gold", "other.example", {})
    yield "foreign attributes", facts(claim=claim(vac="gold", node="n1"), attributes_class=foreign)
    yield "a selector", facts(claim=claim(selector={"matchLabels": {"a": "b"}}, node="n1"))
    for key, (source, *_) in test_data_sources.CASES.items():
        yield f"source: {key}", facts(claim=claim(source=source, node="n1"))
    yield "no consumer", facts(claim=claim())
    yield "a consumer that is being deleted", facts(claim=claim(), pods=(dataclasses.replace(pod(), deleting=True),))
    yield "unscheduled", facts(claim=claim(), pods=(pod(), pod("web-9")))
    yield "bypasses the scheduler", facts(claim=claim(), pods=(pod(), pod("web-9", node_name="n1")))
    yield "unknown node", facts(claim=claim(node="n7"))
    yield "immediate", facts(claim=claim(), storage_class=storage_class(waits=False))
    yield "new", facts()


def _facts_of_siblings() -> Iterator[tuple[str, Facts]]:
    elsewhere = volume("far", ref=("data-web-0", "old"), phase="Released", affinity=ELSEWHERE)
    sets = (web(templates=("www", "data")),)
    n2 = node("n2", pool="2")
    never = storage_class(adopt="Never")
    yield "sibling elsewhere", beside(facts(volumes=(elsewhere,), stateful_sets=sets, nodes=(node(), n2)))
    yield "sibling unavailable", beside(facts(volumes=(elsewhere,), stateful_sets=sets))
    bound = facts(volumes=(volume("x"), elsewhere), nodes=(node(), n2))
    yield "sibling bound elsewhere", beside(bound, claim=claim("data-web-0", uid="sib", volume="far"))
    yield "sibling not adopting", beside(facts(volumes=(elsewhere,), stateful_sets=sets), storage_class=never)
    for key, change in {"of another namespace": {"namespace_uid": "x"}, "not retained": {"policy": "Delete"}}.items():
        former = volume("far", ref=("data-web-0", "old"), phase="Released", affinity=ELSEWHERE, **change)  # type: ignore[arg-type]
        yield f"sibling's {key}", beside(facts(volumes=(former,), stateful_sets=sets))
    assigned = volume("far", ref=("data-web-0", "sib"), affinity=ELSEWHERE)
    yield "sibling's own", beside(facts(volumes=(assigned,)), storage_class=never)
    yield "sibling's, deleting", beside(facts(volumes=(dataclasses.replace(assigned, deleting=True),)))


def _facts_of_former_volumes() -> Iterator[tuple[str, Facts]]:
    yield "adopted", facts(volumes=(volume(**FORMER),), manifests=(manifest(),))
    yield "too small", facts(claim=claim(size="2Gi", node="n1"), volumes=(volume(**FORMER),))
    expands = storage_class(expands=True)
    yield "expands", facts(claim=claim(size="2Gi", node="n1"), volumes=(volume(**FORMER),), storage_class=expands)
    yield "from its pool", facts(manifests=(manifest(),))
    raw, block = claim(mode="Block", node="n1"), dataclasses.replace(manifest(), access_type="block")
    loops = storage_class(parameters={"backend": "loop"})
    yield "raw", facts(claim=raw, volumes=(volume(**FORMER, mode="Block"),))
    yield "raw, and it is not", facts(claim=raw, volumes=(volume(**FORMER),))
    yield "raw, from its pool", facts(claim=raw, manifests=(block,))
    yield "from its pool, raw", facts(manifests=(block,))
    yield "on a loop device", facts(manifests=(manifest(backend="loop"),), storage_class=loops)
    yield "of a backend that was not recorded", facts(manifests=(manifest(backend=""),))
    labelled = claim(selector={"matchLabels": {"a": "b"}}, node="n1")
    yield "with its labels", facts(claim=labelled, volumes=(volume(**FORMER, labels={"a": "b"}),))
    two = claim(modes=("ReadWriteMany", "ReadOnlyMany"), node="n1")
    yield "two modes", facts(claim=two, volumes=(volume(**FORMER, modes=("ReadWriteOnce", "ReadOnlyMany")),))
    yield "scratch", facts(storage_class=storage_class(adopt="Never", policy="Delete"))
    zones = [{"matchLabelExpressions": [{"key": "zone", "values": ["a"]}]}]
    with_topologies = {waits: storage_class(waits=waits, topologies=zones) for waits in (True, False)}
    yield "its node is not in the topologies", facts(storage_class=with_topologies[True])
    yield "its node is in the topologies", facts(storage_class=with_topologies[True], nodes=(node(zone="a"),))
    zoned = (node(zone="a"), node("n2", pool="2"))
    yield "topologies, without a scheduler", facts(claim=claim(), storage_class=with_topologies[False], nodes=zoned)
    yield "from the trash", facts(manifests=(manifest(in_trash=True),))
    yield "several", facts(volumes=(volume("a", **FORMER), volume("b", **FORMER)))
    later = (manifest("a", since="2026-01-01"), manifest("b", since="2026-01-02"))
    yield "several, one last", facts(volumes=(volume("a", **FORMER), volume("b", **FORMER)), manifests=later)


def _facts_of_other_clusters() -> Iterator[tuple[str, Facts]]:
    other = dataclasses.replace(manifest(), holder={**manifest().holder, names.HOLDER_CLUSTER_UID: "other-cluster"})
    owner = {names.HOLDER_STATEFUL_SET: "web", names.HOLDER_TEMPLATE: "www", names.HOLDER_ORDINAL: "0"}
    ordinal = dataclasses.replace(other, holder={**other.holder, **owner})
    released = dataclasses.replace(ordinal, holder={**ordinal.holder, names.RELEASED: "now"})
    yield "no ordinal any more", facts(manifests=(ordinal,), stateful_sets=(), cluster_uid="other-cluster")
    present: dict[str, Any] = {"cluster_uid": "this-cluster", "namespace_uid": "recreated"}
    yield "another cluster's", facts(manifests=(ordinal,), **present)
    yield "another cluster's, no ordinal", facts(manifests=(other,), **present)
    claims = storage_class(adopt="Claim")
    yield "another cluster's, any claim", facts(manifests=(other,), storage_class=claims, **present)
    yield "another cluster's, released", facts(manifests=(released,), **present)
    with_object = (volume(namespace_uid="x"),)
    yield "another cluster's, with an object", facts(manifests=(ordinal,), volumes=with_object, **present)
