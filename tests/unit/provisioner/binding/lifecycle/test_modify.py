"""When a bound claim's volume is modified to another VolumeAttributesClass."""

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
BOUND = volume(ref=("www-web-0", "new"), phase="Bound")


def _claim(vac: str = "gold", *, has: str = "", state: str = "", target: str = "gold", error: str = "") -> Claim:
    """Return a claim bound to `pv` that requests the VolumeAttributesClass `vac`."""
    status: dict[str, Any] = {"capacity": {"storage": "1Gi"}}
    if has:
        status["currentVolumeAttributesClassName"] = has
    if state:
        status["modifyVolumeStatus"] = {"status": state, "targetVolumeAttributesClassName": target}
    if error:
        status["conditions"] = [{"type": "ModifyVolumeError", "status": "True", "message": error}]
    return claim(volume="pv", bound=True, phase="Bound", vac=vac, status=status)


CASES: dict[str, tuple[Claim, AttributesClass | None, Step]] = {
    "it requests none": (_claim(""), None, Step.NOTHING),
    "it has the requested class": (_claim(has="gold"), GOLD, Step.NOTHING),
    "it requests its first class": (_claim(), GOLD, Step.MODIFY),
    "it requests another class": (_claim(has="silver"), GOLD, Step.MODIFY),
    "the last try was refused": (_claim(has="silver", state="Infeasible"), GOLD, Step.MODIFY),
    "the class does not exist": (_claim(has="silver"), None, Step.WAIT),
    "the class is another driver's": (_claim(has="silver"), FOREIGN, Step.REFUSE),
    "it returns to its class after a refusal": (_claim(has="gold", state="Infeasible", target="x"), GOLD, Step.MODIFY),
    "it returns from a class that was never created": (
        _claim(has="gold", state="Pending", target="x"),
        GOLD,
        Step.MODIFY,
    ),
    "it returns while a modification may be in progress": (
        _claim(has="gold", state="InProgress", target="x"),
        GOLD,
        Step.MODIFY,
    ),
    "it requests none any more": (_claim("", has="gold"), None, Step.NOTHING),
    "it no longer requests its first class": (_claim("", state="Infeasible"), None, Step.FORGET),
}


@pytest.mark.parametrize("case", CASES)
def test_a_volume_gets_the_attributes_that_its_claim_requests(case: str) -> None:
    """A modification that may have taken effect without a response is overwritten."""
    requested, attributes, step = CASES[case]

    assert modification(requested, BOUND, attributes_class=attributes).step is step


def test_a_volume_of_another_claim_is_not_modified() -> None:
    """Claim and volume have to name each other."""
    other = volume(ref=("www-web-0", "other"), phase="Bound")

    assert modification(_claim(), other, attributes_class=GOLD).step is Step.NOTHING
    assert modification(_claim(), None, attributes_class=GOLD).step is Step.NOTHING


PENDING: dict[str, tuple[Claim, AttributesClass | None]] = {
    "modifying": (_claim(has="silver"), GOLD),
    "modify-failed": (_claim(state="InProgress", error="the pool is busy"), GOLD),
    "modify-refused": (_claim(state="Infeasible", error="the pool is busy"), GOLD),
    "attributes-class-unknown": (_claim(), None),
    "attributes-class-foreign": (_claim(), FOREIGN),
}


@pytest.mark.parametrize("code", PENDING)
def test_a_claim_that_waits_for_its_attributes_has_the_reason(code: str) -> None:
    """I7 for bound claims: the reason is reported."""
    requested, attributes = PENDING[code]
    found = explain_claim(Facts(requested, Index([BOUND]), storage_class(), attributes))

    assert (False, [code]) == (found.healthy, [each.code for each in found.reasons])
    assert ("the pool is busy" in found.message) == ("failed" in code or "refused" in code)


def test_no_volume_is_provisioned_before_its_attributes_class_exists() -> None:
    """The claim waits with the reason; once the class exists, the volume is provisioned."""
    requested = claim(vac="gold", node="n1")

    def found(attributes: AttributesClass | None) -> tuple[Action, list[str]]:
        decision = decide(Facts(requested, Index(), storage_class(), attributes, nodes=(node(),)))
        return decision.action, [each.code for each in decision.reasons]

    assert found(None) == (Action.WAIT, ["attributes-class-unknown"])
    assert found(FOREIGN) == (Action.WAIT, ["attributes-class-foreign"])
    assert found(GOLD)[0] is Action.PROVISION
