"""When a bound claim's volume is expanded, to what size, and by which component."""

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

EXPANDS = storage_class(expands=True)


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
    """Return a claim bound to volume `pv` that requests `size`."""
    status: dict[str, Any] = {"capacity": {"storage": has}}
    if state:
        status["allocatedResourceStatuses"] = {"storage": state}
    if allocated:
        status["allocatedResources"] = {"storage": allocated}
    if error:
        status["conditions"] = [{"type": kind, "status": "True", "message": error}]
    return claim(**{"size": size, "volume": "pv", "bound": True, "phase": "Bound", "status": status, **others})


def _expansion(
    requested: Claim, *, has: str = "1Gi", refused: bool = False, uid: str = "new", **others: Any
) -> Expansion:
    bound_volume = volume(size=has, ref=("www-web-0", uid), phase="Bound", **others)
    return expansion(requested, bound_volume, storage_class=EXPANDS, refused=refused)


def test_a_claim_that_requests_more_is_expanded_to_the_request() -> None:
    """The class allows it, and claim and volume name each other."""
    found = _expansion(bound())

    assert (Turn.CONTROLLER, Quantity.parse("2Gi")) == (found.turn, found.size)


NOTHING: dict[str, tuple[Claim, dict[str, Any]]] = {
    "it has the requested capacity": (bound("1Gi"), {}),
    "it is not bound": (bound(phase="Pending"), {}),
    "it is lost": (bound(phase="Lost"), {}),
    "it is being deleted": (bound(deleting=True), {}),
    "the volume belongs to another claim": (bound(), {"uid": "other"}),
    "it names another volume": (bound(volume="other"), {}),
    "the volume is of another driver": (bound(), {"driver": "other"}),
}


@pytest.mark.parametrize("why", NOTHING)
def test_nothing_is_expanded_without_a_request_of_its_own_claim(why: str) -> None:
    """Expanding a volume that does not name the claim would change another claim's volume (CVE-2019-11255)."""
    requested, actual = NOTHING[why]

    assert _expansion(requested, **actual).turn is Turn.NONE


def test_without_permission_of_the_class_only_a_started_expansion_continues() -> None:
    """I7: the claim reports it; an expansion that was requested from the driver, or that the volume has, continues."""
    current = volume(ref=("www-web-0", "new"), phase="Bound")
    larger = volume(ref=("www-web-0", "new"), phase="Bound", size="2Gi")
    started = bound(state="ControllerResizeInProgress", allocated="2Gi")

    waits = expansion(bound(), current, storage_class=storage_class())

    assert (Turn.USER, ["expand-not-allowed"]) == (waits.turn, [each.code for each in waits.reasons])
    assert expansion(started, current, storage_class=storage_class()).turn is Turn.CONTROLLER
    assert expansion(bound(), larger, storage_class=storage_class()).turn is Turn.CONTROLLER


STATES: list[tuple[str, str, str, bool, str, Turn, str]] = [
    # request, state, allocated, refused, capacity of the volume → next component, size
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
def test_a_started_expansion_is_finished_unless_it_was_refused(
    case: tuple[str, str, str, bool, str, Turn, str],
) -> None:
    """KEP-1790: a smaller request replaces a larger one only when that cannot be in progress."""
    request, state, allocated, refused, has, turn, size = case

    found = _expansion(bound(request, state=state, allocated=allocated), has=has, refused=refused)

    assert (turn, Quantity.parse(size)) == (found.turn, found.size)


def test_an_expansion_counts_as_in_progress_unless_the_driver_refused_it() -> None:
    """The driver may be expanding the volume, so the started, larger size is still requested."""
    started = bound("2Gi", state="ControllerResizeInProgress", allocated="9Gi")
    current = volume(ref=("www-web-0", "new"), phase="Bound")

    assert expansion(started, current, storage_class=EXPANDS).size == Quantity.parse("9Gi")


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
def test_the_node_expands_when_the_volume_is_larger_than_the_claims_capacity(
    state: str, has: str, size: str | None
) -> None:
    """That includes a volume that was expanded before it was bound; never while the controller expands it."""
    found = node_part(bound(state=state), volume(size=has, ref=("www-web-0", "new"), phase="Bound"))

    assert found == (Quantity.parse(size) if size else None)


def test_a_claim_without_a_capacity_in_its_status_has_that_of_its_volume() -> None:
    """The claim was just bound; neither the volume nor its filesystem has to be expanded."""
    fresh, current = bound(has="0"), volume(size="2Gi", ref=("www-web-0", "new"), phase="Bound")

    assert expansion(fresh, current, storage_class=EXPANDS).turn is Turn.NONE
    assert node_part(fresh, current) is None


PENDING = {
    "expanding": bound(),
    "expand-failed": bound(state="ControllerResizeInProgress", allocated="2Gi", error="the pool is busy"),
    "expand-refused": bound(state="ControllerResizeInfeasible", allocated="2Gi", error="the pool is full"),
    "node-expand-pending": bound(state="NodeResizePending", allocated="1Gi"),
    "node-expand-refused": bound(state="NodeResizeInfeasible", allocated="2Gi"),
}


@pytest.mark.parametrize("code", PENDING)
def test_a_claim_that_waits_for_its_size_has_the_reason(code: str) -> None:
    """I7 for bound claims: it is unhealthy, with one message that includes the driver's."""
    current = volume(ref=("www-web-0", "new"), phase="Bound")
    found = explain_claim(Facts(PENDING[code], Index([current]), EXPANDS))

    assert (False, [code]) == (found.healthy, [each.code for each in found.reasons])
    assert found.message.startswith("it is bound to volume pv; ")
    assert ("the pool is" in found.message) == (code in {"expand-failed", "expand-refused"})


def test_a_running_pod_whose_claim_is_expanded_is_healthy() -> None:
    """The pod uses the present capacity; its message also has the expansion."""
    current = volume(ref=("www-web-0", "new"), phase="Bound")
    found = explain_pod(
        pod(node_name="n1", ready=True), claims=[explain_claim(Facts(bound(), Index([current]), EXPANDS))]
    )

    assert found.healthy
    assert "it is being expanded from 1Gi to 2Gi" in found.message
