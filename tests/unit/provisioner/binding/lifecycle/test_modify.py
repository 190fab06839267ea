"""When a bound claim's volume gets the attributes of another class."""

from typing import Any

import pytest

from provisioner.binding.decide import decide
from provisioner.binding.decision import Action
from provisioner.binding.explain import explain_claim
from provisioner.binding.facts import Facts
from provisioner.binding.lifecycle.modify import Step, modification
from provisioner.binding.matching.index import Index
from provisioner.model.attributes_class import AttributesClass
from provisioner.model.claim import Claim
from tests.unit.provisioner.binding.objects import claim, node, storage_class, volume

GOLD = AttributesClass("gold", "csi.mooring.dev", {"trashRetention": "90h"})
FOREIGN = AttributesClass("gold", "other.example", {})
HELD = volume(ref=("www-web-0", "new"), phase="Bound")


def _claim(vac: str = "gold", *, has: str = "", state: str = "", target: str = "gold", error: str = "") -> Claim:
    """A claim bound to `pv` that asks for the attributes class `vac`."""
    status: dict[str, Any] = {"capacity": {"storage": "1Gi"}}
    if has:
        status["currentVolumeAttributesClassName"] = has
    if state:
        status["modifyVolumeStatus"] = {"status": state, "targetVolumeAttributesClassName": target}
    if error:
        status["conditions"] = [{"type": "ModifyVolumeError", "status": "True", "message": error}]
    return claim(volume="pv", bound=True, phase="Bound", vac=vac, status=status)


CASES: dict[str, tuple[Claim, AttributesClass | None, Step]] = {
    "it asks for none": (_claim(""), None, Step.NOTHING),
    "it has what it asks for": (_claim(has="gold"), GOLD, Step.NOTHING),
    "it asks for a first one": (_claim(), GOLD, Step.MODIFY),
    "it asks for another": (_claim(has="silver"), GOLD, Step.MODIFY),
    "the last try was refused": (_claim(has="silver", state="Infeasible"), GOLD, Step.MODIFY),
    "the class is not there": (_claim(has="silver"), None, Step.WAIT),
    "the class is another driver's": (_claim(has="silver"), FOREIGN, Step.REFUSE),
    "it returns after a refusal": (_claim(has="gold", state="Infeasible", target="x"), GOLD, Step.MODIFY),
    "it returns from a class that never came": (_claim(has="gold", state="Pending", target="x"), GOLD, Step.MODIFY),
    "it returns while a change may go on": (_claim(has="gold", state="InProgress", target="x"), GOLD, Step.MODIFY),
    "it wants none any more": (_claim("", has="gold"), None, Step.NOTHING),
    "it takes back its first wish": (_claim("", state="Infeasible"), None, Step.FORGET),
}


@pytest.mark.parametrize("case", CASES)
def test_a_volume_gets_the_attributes_that_its_claim_asks_for(case: str) -> None:
    """Whatever went before: what may have taken effect without an answer is overwritten."""
    asked, attributes, step = CASES[case]

    assert modification(asked, HELD, attributes_class=attributes).step is step


def test_a_volume_that_is_not_the_claims_own_is_left_alone() -> None:
    """Both have to name each other."""
    stranger = volume(ref=("www-web-0", "other"), phase="Bound")

    assert modification(_claim(), stranger, attributes_class=GOLD).step is Step.NOTHING
    assert modification(_claim(), None, attributes_class=GOLD).step is Step.NOTHING


TOLD: dict[str, tuple[Claim, AttributesClass | None]] = {
    "modifying": (_claim(has="silver"), GOLD),
    "modify-failed": (_claim(state="InProgress", error="the pool is busy"), GOLD),
    "modify-refused": (_claim(state="Infeasible", error="the pool is busy"), GOLD),
    "attributes-class-unknown": (_claim(), None),
    "attributes-class-foreign": (_claim(), FOREIGN),
}


@pytest.mark.parametrize("code", TOLD)
def test_a_claim_that_waits_for_its_attributes_says_why(code: str) -> None:
    """I7 for bound claims."""
    asked, attributes = TOLD[code]
    found = explain_claim(Facts(asked, Index([HELD]), storage_class(), attributes))

    assert (False, [code]) == (found.healthy, [each.code for each in found.reasons])
    assert ("the pool is busy" in found.message) == ("failed" in code or "refused" in code)


def test_no_volume_is_made_without_the_attributes_class_that_it_shall_have() -> None:
    """The claim waits and says why; with the class there, the volume is made."""
    asked = claim(vac="gold", node="n1")

    def found(attributes: AttributesClass | None) -> tuple[Action, list[str]]:
        decision = decide(Facts(asked, Index(), storage_class(), attributes, nodes=(node(),)))
        return decision.action, [each.code for each in decision.reasons]

    assert found(None) == (Action.WAIT, ["attributes-class-unknown"])
    assert found(FOREIGN) == (Action.WAIT, ["attributes-class-foreign"])
    assert found(GOLD)[0] is Action.PROVISION
