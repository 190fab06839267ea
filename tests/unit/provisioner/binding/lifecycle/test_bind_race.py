"""Volumes that lost a bind race: only a volume that was provably never bound is moved to the trash."""

import dataclasses
from typing import Any

import pytest

from provisioner.binding.lifecycle.bind_race import Outcome, RaceLoser, is_collected, lost_race
from provisioner.model import history
from provisioner.model.history import Owner
from provisioner.model.names import DRIVER, HISTORY, LOST_RACE_UID, RECOVERED
from provisioner.model.volume import ClaimRef, Volume
from tests.unit.provisioner.binding.objects import claim, volume

PROVISIONED = "pvc-new"
BOUND: dict[str, Any] = {"bound": True, "volume": "pv"}


def _owners(*uids: str, name: str = "www-web-0") -> tuple[Owner, ...]:
    return tuple(Owner("default", name, uid, "web", "0", "2026-01-01T00:00:00Z") for uid in uids)


def lost(*uids: str, by: tuple[Owner, ...] = (), **changes: Any) -> Volume:
    """Return a volume that lost a bind race, reserved by name; `uids` are the claims of its history, first to last."""
    found = volume(
        changes.pop("name", PROVISIONED), ref=changes.pop("ref", "www-web-0"), provisioned_by=DRIVER, **changes
    )
    recorded = {HISTORY: history.write(by or _owners(*(uids or ("new",))))}
    return dataclasses.replace(found, annotations={**found.annotations, **recorded})


def _without_claim_ref(*uids: str) -> Volume:
    return dataclasses.replace(lost(*uids), claim_ref=None)


def _recovered() -> Volume:
    found = lost()
    return dataclasses.replace(found, annotations={**found.annotations, RECOVERED: "2026-01-01T00:00:00Z"})


def _evaluate(found: Volume, *others: Volume, **live: Any) -> RaceLoser | None:
    """Evaluate the volume, with the claim `new` of that name bound to the volume pv; `live` changes that claim."""
    return lost_race(found, claim=claim(**{**BOUND, **live}), others=(found, *others))


@pytest.mark.parametrize("found", [lost(), _without_claim_ref()], ids=["reserved by name", "without a claimRef"])
def test_a_volume_that_was_never_bound_is_collected(found: Volume) -> None:
    """The claim exists and stays bound to another volume, so no claim ever had this one, and none gets it."""
    result = _evaluate(found)

    assert result is not None
    assert (Outcome.COLLECT, LOST_RACE_UID) == (result.outcome, result.uid)
    assert result.reason.message == (
        "volume pvc-new: it was provisioned for claim default/www-web-0, which was bound to volume pv instead, and it "
        "was never bound; it is moved to the trash"
    )


NO_PROOF: dict[str, tuple[Volume, dict[str, Any]]] = {
    # why nothing is done: (the volume, changes of the claim)
    "its claim is not bound yet": (lost(), {"bound": False, "volume": ""}),
    "its claim names another, and the bind is not complete": (lost(), {"bound": False}),
    "its claim is bound to it": (lost(), {"volume": PROVISIONED}),
    "a recreated claim exists instead": (lost(), {"uid": "newer"}),
    "another claim had it before": (lost(by=(*_owners("x", name="other"), *_owners("new"))), {}),
    "another claim had it since": (lost(by=(*_owners("new"), *_owners("x", name="other"))), {}),
    "an earlier owner is unknown": (lost("a", "", name="pvc-a"), {}),
    "an admin made a volume with data available": (_without_claim_ref("a", "new"), {}),
    "it has another name": (dataclasses.replace(lost(), name="pvc-other"), {}),
    "an admin created it": (dataclasses.replace(lost(), annotations={HISTORY: history.write(_owners("new"))}), {}),
    "its history cannot be read": (dataclasses.replace(lost(), annotations={**lost().annotations, HISTORY: "?"}), {}),
    "its handle is another's": (dataclasses.replace(lost(), handle="pool.another"), {}),
    "it was recovered from a disk": (_recovered(), {}),
    "it is another driver's": (lost(driver="other"), {}),
    "it is bound": (lost(phase="Bound"), {}),
    "it is released": (lost(phase="Released"), {}),
    "it is being deleted": (lost(deleting=True), {}),
    "the controller had chosen it for a claim": (lost(by_controller=True), {}),
    "it names a claim by UID": (lost(ref=("www-web-0", "new")), {}),
    "an admin reserved it for another claim": (lost(ref="other"), {}),
}


@pytest.mark.parametrize("why", NO_PROOF)
def test_without_proof_nothing_is_changed(why: str) -> None:
    """I3: each part of the proof is required; where one is missing, the volume is not changed."""
    found, live = NO_PROOF[why]

    assert _evaluate(found, **live) is None


def test_a_volume_with_data_stays_a_former_volume() -> None:
    """After a lost adoption the reservation by name and the last entry of the history are reverted."""
    result = _evaluate(lost("a", "b", "new", name="pvc-a"))

    assert result is not None
    assert (Outcome.FORMER, "b", ["a", "b"]) == (result.outcome, result.uid, [each.claim_uid for each in result.owners])


def test_a_reservation_by_an_admin_is_not_changed() -> None:
    """The volume was not meant for the existing claim: an admin reserved it for the next claim of that name."""
    assert _evaluate(lost("a", "b", name="pvc-a")) is None


@pytest.mark.parametrize("live", [None, claim(uid="newer"), claim(uid="newer", bound=True, volume="x")])
def test_when_its_claim_was_deleted_a_volume_that_was_probably_never_bound_is_retained(live: Any) -> None:
    """Another volume has the UID of the deleted claim; no claim gets this one, and an admin decides."""
    found = lost()
    result = lost_race(found, claim=live, others=(found, volume("pv", ref=("www-web-0", "new"), phase="Released")))

    assert result is not None
    assert (Outcome.RETAIN, "new", "pv") == (result.outcome, result.uid, result.reason.actual)
    former = lost_race(
        lost("a", "new", name="pvc-a"), claim=live, others=(volume("pv", ref=("www-web-0", "new"), phase="Released"),)
    )
    assert former is not None
    assert (Outcome.FORMER, "a") == (former.outcome, former.uid)


@pytest.mark.parametrize("others", [(), (volume("pv", ref=("www-web-0", "old"), phase="Released"),)])
def test_when_its_claim_was_deleted_a_reservation_by_name_may_be_an_admins(others: tuple[Volume, ...]) -> None:
    """I2: admins clear the UID to reserve a volume with data for the next claim of its name."""
    found = lost()

    assert lost_race(found, claim=None, others=(found, *others)) is None
    available, other = _without_claim_ref(), volume("pv", ref=("www-web-0", "new"), phase="Released")
    assert lost_race(available, claim=None, others=(available, other)) is None


def results() -> dict[Outcome, RaceLoser | None]:
    """Return one result of each outcome."""
    return {
        Outcome.COLLECT: _evaluate(lost()),
        Outcome.FORMER: _evaluate(lost("a", "new", name="pvc-a")),
        Outcome.RETAIN: lost_race(lost(), claim=None, others=(volume("pv", ref=("www-web-0", "new")),)),
    }


@pytest.mark.parametrize("outcome", Outcome)
def test_no_claim_of_that_name_is_bound_to_it_afterwards(outcome: Outcome) -> None:
    """That includes claims of a recreated namespace of that name, which may belong to another tenant."""
    found = results()[outcome]
    assert found is not None
    assert outcome is found.outcome
    after = dataclasses.replace(lost(), claim_ref=ClaimRef("default", "www-web-0", found.uid))
    assert not after.belongs_to(claim(uid="other"))
    assert None is lost_race(after, claim=claim(**BOUND), others=())


def test_the_claim_ref_of_a_collected_volume_records_the_proof() -> None:
    """The claim may be deleted afterwards, since the proof is not repeated."""
    assert is_collected(lost(ref=("www-web-0", LOST_RACE_UID), phase="Released"))
    assert is_collected(lost(ref=("www-web-0", "left-over-says-mooring"), phase="Released"))
    assert not is_collected(lost(ref=("www-web-0", "new")))
    assert not is_collected(lost(ref=("www-web-0", LOST_RACE_UID), driver="other"))
