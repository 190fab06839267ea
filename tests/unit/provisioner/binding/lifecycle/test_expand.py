"""When a bound claim's volume grows, to what size, and whose turn it is."""

from typing import Any

import pytest

from provisioner.binding.explain import explain_claim
from provisioner.binding.explain_pod import explain_pod
from provisioner.binding.facts import Facts
from provisioner.binding.lifecycle.expand import Expansion, Turn, expansion, node_part
from provisioner.binding.matching.index import Index
from provisioner.model.claim import Claim
from provisioner.model.quantity import Quantity
from tests.unit.provisioner.binding.objects import claim, pod, storage_class, volume

GROWS = storage_class(expands=True)


def bound(
    size: str = "2Gi",
    *,
    has: str = "1Gi",
    state: str = "",
    allocated: str = "",
    error: str = "",
    kind: str = "ControllerResizeError",
    **others: Any,
) -> Claim:
    """A claim bound to volume `pv`, which asks for `size`."""
    status: dict[str, Any] = {"capacity": {"storage": has}}
    if state:
        status["allocatedResourceStatuses"] = {"storage": state}
    if allocated:
        status["allocatedResources"] = {"storage": allocated}
    if error:
        status["conditions"] = [{"type": kind, "status": "True", "message": error}]
    return claim(**{"size": size, "volume": "pv", "bound": True, "phase": "Bound", "status": status, **others})


def _grows(asked: Claim, *, has: str = "1Gi", refused: bool = False, uid: str = "new", **others: Any) -> Expansion:
    held = volume(size=has, ref=("www-web-0", uid), phase="Bound", **others)
    return expansion(asked, held, storage_class=GROWS, refused=refused)


def test_a_claim_that_asks_for_more_grows_to_what_it_asks_for() -> None:
    """The class allows it, and claim and volume name each other."""
    found = _grows(bound())

    assert (Turn.CONTROLLER, Quantity.parse("2Gi")) == (found.turn, found.size)


NOTHING: dict[str, tuple[Claim, dict[str, Any]]] = {
    "it has what it asks for": (bound("1Gi"), {}),
    "it is not bound": (bound(phase="Pending"), {}),
    "it is lost": (bound(phase="Lost"), {}),
    "it is being deleted": (bound(deleting=True), {}),
    "the volume is another's": (bound(), {"uid": "other"}),
    "it names another volume": (bound(volume="other"), {}),
    "the volume is of another driver": (bound(), {"driver": "other"}),
}


@pytest.mark.parametrize("why", NOTHING)
def test_nothing_grows_without_need_or_right(why: str) -> None:
    """Growing a volume that claim and volume do not agree on would touch another's data (CVE-2019-11255)."""
    asked, actual = NOTHING[why]

    assert _grows(asked, **actual).turn is Turn.NONE


def test_a_class_that_does_not_allow_it_lets_nothing_grow_but_what_has_begun() -> None:
    """I7: the claim says so; what the driver was asked for already, or the volume has already, goes on."""
    held = volume(ref=("www-web-0", "new"), phase="Bound")
    larger = volume(ref=("www-web-0", "new"), phase="Bound", size="2Gi")
    begun = bound(state="ControllerResizeInProgress", allocated="2Gi")

    waits = expansion(bound(), held, storage_class=storage_class())

    assert (Turn.USER, ["expand-not-allowed"]) == (waits.turn, [each.code for each in waits.reasons])
    assert expansion(begun, held, storage_class=storage_class()).turn is Turn.CONTROLLER
    assert expansion(bound(), larger, storage_class=storage_class()).turn is Turn.CONTROLLER


STATES: list[tuple[str, str, str, bool, str, Turn, str]] = [
    # request, state, allocated, refused, the volume has → whose turn, to what size
    ("3Gi", "ControllerResizeInProgress", "2Gi", False, "1Gi", Turn.CONTROLLER, "2Gi"),
    ("3Gi", "ControllerResizeInProgress", "2Gi", True, "1Gi", Turn.CONTROLLER, "3Gi"),
    ("2Gi", "ControllerResizeInProgress", "9Gi", False, "1Gi", Turn.CONTROLLER, "9Gi"),
    ("2Gi", "ControllerResizeInProgress", "9Gi", True, "1Gi", Turn.CONTROLLER, "2Gi"),
    ("2Gi", "ControllerResizeInfeasible", "9Gi", False, "1Gi", Turn.CONTROLLER, "2Gi"),
    ("2Gi", "ControllerResizeInfeasible", "9Gi", False, "2Gi", Turn.CONTROLLER, "2Gi"),
    ("2Gi", "NodeResizePending", "2Gi", False, "2Gi", Turn.NODE, "2Gi"),
    ("3Gi", "NodeResizePending", "2Gi", False, "2Gi", Turn.NODE, "2Gi"),
    ("3Gi", "NodeResizeInProgress", "2Gi", False, "2Gi", Turn.NODE, "2Gi"),
    ("2Gi", "NodeResizeInProgress", "2Gi", False, "1Gi", Turn.CONTROLLER, "2Gi"),
    ("3Gi", "NodeResizeInfeasible", "2Gi", False, "2Gi", Turn.CONTROLLER, "2Gi"),
    ("2Gi", "", "", False, "2Gi", Turn.CONTROLLER, "2Gi"),
]


@pytest.mark.parametrize("case", STATES, ids=lambda case: f"{case[1]}-{case[0]}-{case[3]}-{case[4]}")
def test_what_was_begun_is_finished_unless_it_was_refused(case: tuple[str, str, str, bool, str, Turn, str]) -> None:
    """As KEP-1790 has it: a smaller request takes over only when nothing of the larger one can be going on."""
    request, state, allocated, refused, has, turn, size = case

    found = _grows(bound(request, state=state, allocated=allocated), has=has, refused=refused)

    assert (turn, Quantity.parse(size)) == (found.turn, found.size)


def test_nothing_counts_as_refused_that_is_not_told_so() -> None:
    """The driver may be at it: the larger size that was begun stays the aim."""
    begun = bound("2Gi", state="ControllerResizeInProgress", allocated="9Gi")
    held = volume(ref=("www-web-0", "new"), phase="Bound")

    assert expansion(begun, held, storage_class=GROWS).size == Quantity.parse("9Gi")


@pytest.mark.parametrize(
    ("state", "has", "size"),
    [
        ("", "1Gi", None),
        ("", "2Gi", "2Gi"),
        ("NodeResizePending", "2Gi", "2Gi"),
        ("NodeResizeInProgress", "2Gi", "2Gi"),
        ("NodeResizeInfeasible", "2Gi", None),
        ("ControllerResizeInProgress", "2Gi", None),
    ],
)
def test_the_node_acts_when_the_volume_is_larger_than_thebound(state: str, has: str, size: str | None) -> None:
    """Also for a volume that grew before the claim was bound to it; never while the controller is at it."""
    found = node_part(bound(state=state), volume(size=has, ref=("www-web-0", "new"), phase="Bound"))

    assert found == (Quantity.parse(size) if size else None)


def test_a_claim_whose_status_tells_no_size_yet_has_what_its_volume_has() -> None:
    """It was bound a moment ago: neither the volume nor its filesystem has to grow."""
    fresh, held = bound(has="0"), volume(size="2Gi", ref=("www-web-0", "new"), phase="Bound")

    assert expansion(fresh, held, storage_class=GROWS).turn is Turn.NONE
    assert node_part(fresh, held) is None


TOLD = {
    "expanding": bound(),
    "expand-failed": bound(state="ControllerResizeInProgress", allocated="2Gi", error="the pool is busy"),
    "expand-refused": bound(state="ControllerResizeInfeasible", allocated="2Gi", error="the pool is full"),
    "node-expand-pending": bound(state="NodeResizePending", allocated="1Gi"),
    "node-expand-refused": bound(state="NodeResizeInfeasible", allocated="2Gi"),
}


@pytest.mark.parametrize("code", TOLD)
def test_a_claim_that_waits_for_its_size_says_why(code: str) -> None:
    """I7 for bound claims: not well, one sentence, and what the driver said."""
    held = volume(ref=("www-web-0", "new"), phase="Bound")
    found = explain_claim(Facts(TOLD[code], Index([held]), GROWS))

    assert (False, [code]) == (found.healthy, [each.code for each in found.reasons])
    assert found.message.startswith("it is bound to volume pv; ")
    assert ("the pool is" in found.message) == (code in {"expand-failed", "expand-refused"})


def test_a_pod_whose_claim_grows_is_well() -> None:
    """It runs on what it has; the growing is told beside it."""
    held = volume(ref=("www-web-0", "new"), phase="Bound")
    found = explain_pod(pod(node_name="n1", ready=True), claims=[explain_claim(Facts(bound(), Index([held]), GROWS))])

    assert found.healthy
    assert "it is being expanded from 1Gi to 2Gi" in found.message
