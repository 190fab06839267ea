"""A request that no backend, class or node can serve is refused by the decision, before a driver is called."""

from typing import Any

import pytest

from provisioner.binding.decide import decide
from provisioner.binding.decision import Action
from provisioner.binding.explain import explain_claim
from provisioner.model.names import FORGET
from tests.unit.provisioner.binding.adoption.test_evaluate import FORMER, facts
from tests.unit.provisioner.binding.objects import claim, node, pod, storage_class, volume

ZONE = [{"matchLabelExpressions": [{"key": "zone", "values": ["a", "b"]}]}]

NOT_SERVED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    # the reason's code: (the claim, the class, a part of the message)
    "class-modes": ({"modes": ("ReadWriteMany",)}, {}, "access mode ReadWriteMany"),
    "class-modes of several": (
        {"modes": ("ReadWriteOnce", "ReadOnlyMany")},
        {},
        "create the claim with one of those",
    ),
    "class-block": ({"mode": "Block"}, {}, "use a class with backend loop"),
    "class-no-node": (
        {},
        {"topologies": ZONE},
        "no node is in the allowedTopologies of StorageClass fast (zone in a|b)",
    ),
    "class-parameters": ({}, {"parameters": {"backend": "tape"}}, "choose one of directory, loop"),
}


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("what", NOT_SERVED)
def test_a_claim_that_cannot_be_served_waits_with_the_reason(what: str, waits: bool) -> None:
    """The message has the next step, in both binding modes, and reports no provisioning."""
    requested, of_class, message = NOT_SERVED[what]
    selected: dict[str, Any] = {"node": "n1"} if waits and what != "class-no-node" else {}
    found = facts(
        claim=claim(**requested, **selected), storage_class=storage_class(waits=waits, **of_class), pods=(pod(),)
    )

    decision = decide(found)
    assert (decision.action, [each.code for each in decision.reasons]) == (Action.WAIT, [what.split(maxsplit=1)[0]])
    assert message in explain_claim(found).message


def test_a_claim_that_can_be_served_is_provisioned() -> None:
    """Loop supports raw block volumes and both access modes of one node; one node in the topologies is enough."""
    loop = storage_class(waits=False, parameters={"backend": "loop"})
    served = (
        facts(claim=claim(mode="Block"), storage_class=loop),
        facts(claim=claim(modes=("ReadWriteOnce", "ReadWriteOncePod")), storage_class=loop),
        facts(
            claim=claim(),
            storage_class=storage_class(waits=False, topologies=ZONE),
            nodes=(node(), node("m", zone="b")),
        ),
    )
    assert {Action.PROVISION} == {decide(each).action for each in served}


def test_a_former_volume_is_adopted_before_the_request_is_checked() -> None:
    """The backend need not be able to create the access modes that the former volume has."""
    former = volume(**FORMER, modes=("ReadWriteOnce", "ReadWriteMany"))
    requested = claim(modes=("ReadWriteMany",))

    assert decide(facts(claim=requested, volumes=(former,))).action is Action.ADOPT
    requested.annotations[FORGET] = requested.uid  # type: ignore[index]
    assert decide(facts(claim=requested, volumes=(former,))).reasons[0].code == "class-modes"
