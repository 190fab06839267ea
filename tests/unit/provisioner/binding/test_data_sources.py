"""A claim with a data source never gets a new, empty volume: it gets its former one, or waits with the reason."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.binding.decide import decide
from provisioner.binding.decision import Action
from provisioner.binding.explain import explain_claim
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObjectError
from tests.unit.provisioner.binding.adoption.test_evaluate import FORMER, beside, facts
from tests.unit.provisioner.binding.objects import claim, storage_class, volume

SNAPSHOT = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}
CLONE = {"kind": "PersistentVolumeClaim", "name": "c"}
POPULATED = {"apiGroup": "hello.example.com", "kind": "Hello", "name": "h"}
LOOKALIKE = {"apiGroup": "example.com", "kind": "VolumeSnapshot", "name": "s"}
CASES = {
    "a snapshot": (SNAPSHOT, Action.WAIT, "source-unsupported"),
    "a claim": (CLONE, Action.WAIT, "source-unsupported"),
    "a claim, with an explicit group": ({**CLONE, "apiGroup": ""}, Action.WAIT, "source-unsupported"),
    "another kind": (POPULATED, Action.NOT_MANAGED, "source-populator"),
    "a kind of that name in another group": (LOOKALIKE, Action.NOT_MANAGED, "source-populator"),
    "a claim of another namespace": ({**CLONE, "namespace": "n"}, Action.WAIT, "source-namespace"),
    "another kind in another namespace": ({**POPULATED, "namespace": "n"}, Action.WAIT, "source-namespace"),
}


@pytest.mark.parametrize("node", ["", "n1"])
@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("field", ["dataSource", "dataSourceRef"])
@pytest.mark.parametrize("case", CASES)
def test_a_source_makes_the_claim_wait_or_leaves_it_to_its_populator(
    case: str, field: str, waits: bool, node: str
) -> None:
    """It depends only on the kind of the source, in both binding modes, with a selected node and without."""
    source, action, code = CASES[case]
    known = facts(claim=claim(source=source, source_field=field, node=node), storage_class=storage_class(waits=waits))

    decision = decide(known)

    assert (action, [code]) == (decision.action, [reason.code for reason in decision.reasons])
    assert decision.message == explain_claim(known).message
    assert source["name"] in decision.message


@pytest.mark.parametrize("case", CASES)
def test_a_former_volume_is_adopted_regardless_of_the_source(case: str) -> None:
    """The recreated claim of an ordinal adopts its former volume, whatever source its template names."""
    decision = decide(facts(claim=claim(source=CASES[case][0], node="n1"), volumes=(volume(**FORMER), volume("free"))))

    assert (Action.ADOPT, "pv") == (decision.action, decision.volume)


@pytest.mark.parametrize("case", CASES)
def test_an_existing_volume_is_matched_as_by_upstream(case: str) -> None:
    """kube-controller-manager ignores sources; populators rely on that to bind the volumes that they populated."""
    requested = claim(source=CASES[case][0])
    immediate = storage_class(waits=False)

    assert decide(facts(claim=requested, storage_class=immediate, volumes=(volume("free"),))).volume == "free"
    assert decide(facts(claim=requested, volumes=(volume("reserved", ref=("www-web-0", "new")),))).volume == "reserved"


words = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=9)
sources = st.fixed_dictionaries(
    {"kind": words, "name": words},
    optional={"apiGroup": st.one_of(st.just(""), words), "namespace": st.one_of(st.just(""), words)},
)


@given(source=st.one_of(sources, st.sampled_from([case[0] for case in CASES.values()])), waits=st.booleans())
def test_no_claim_with_a_source_gets_an_empty_volume(source: Mapping[str, str], waits: bool) -> None:
    """The decision is never to provision, whatever the source, the siblings and the StatefulSet are."""
    for known in (facts(storage_class=storage_class(waits=waits)), facts(stateful_sets=())):
        requested = claim(source=source, node="n1")
        with_source = beside(
            facts(claim=requested, storage_class=known.storage_class, stateful_sets=known.stateful_sets)
        )

        assert decide(with_source).action in {Action.WAIT, Action.NOT_MANAGED}


def test_data_source_ref_overrides_data_source() -> None:
    """The API server keeps the two equal where it can; only dataSourceRef can name every kind."""
    both = {"dataSource": CLONE, "dataSourceRef": POPULATED}
    metadata = {"name": "c", "namespace": "default"}
    found = Claim.of({"metadata": metadata, "spec": both}).data_source

    assert found is not None
    assert str(found) == "Hello.hello.example.com h"


def test_an_invalid_source_raises_an_error_with_the_field() -> None:
    """Invalid input never leads to another exception."""
    with pytest.raises(InvalidObjectError, match="dataSource"):
        Claim.of({"metadata": {"name": "c", "namespace": "default"}, "spec": {"dataSource": "x"}})
    with pytest.raises(InvalidObjectError, match="name"):
        Claim.of({"metadata": {"name": "c", "namespace": "default"}, "spec": {"dataSource": {"name": 1}}})
