"""What becomes of a volume whose claim was bound to another one: only what nobody can have had goes to the trash."""

import dataclasses
from typing import Any

import pytest

from provisioner.binding.lifecycle.bind_race import Outcome, RaceLoser, is_collected, lost_race
from provisioner.model import history
from provisioner.model.history import Owner
from provisioner.model.names import DRIVER, HISTORY, LOST_RACE_UID, RECOVERED
from provisioner.model.volume import ClaimRef, Volume
from tests.unit.provisioner.binding.objects import claim, volume

MADE = "pvc-new"
BOUND: dict[str, Any] = {"bound": True, "volume": "pv"}


def _held(*uids: str, name: str = "www-web-0") -> tuple[Owner, ...]:
    return tuple(Owner("default", name, uid, "web", "0", "2026-01-01T00:00:00Z") for uid in uids)


def lost(*uids: str, by: tuple[Owner, ...] = (), **changes: Any) -> Volume:
    """A volume as upstream leaves it, reserved by name; `uids` are the claims that its history tells of, first to last."""
    made = volume(changes.pop("name", MADE), ref=changes.pop("ref", "www-web-0"), provisioned_by=DRIVER, **changes)
    told = {HISTORY: history.write(by or _held(*(uids or ("new",))))}
    return dataclasses.replace(made, annotations={**made.annotations, **told})


def _anybodys(*uids: str) -> Volume:
    return dataclasses.replace(lost(*uids), claim_ref=None)


def _recovered() -> Volume:
    found = lost()
    return dataclasses.replace(found, annotations={**found.annotations, RECOVERED: "2026-01-01T00:00:00Z"})


def _judge(found: Volume, *others: Volume, **live: Any) -> RaceLoser | None:
    """With the claim `new` of that name, bound to the volume pv, unless `live` says otherwise."""
    return lost_race(found, claim=claim(**{**BOUND, **live}), others=(found, *others))


@pytest.mark.parametrize("found", [lost(), _anybodys()], ids=["reserved by name", "for anybody"])
def test_what_was_made_for_a_claim_that_got_another_goes(found: Volume) -> None:
    """The claim lives and is bound to another volume, for good: nobody ever had this one, and nobody gets it any more."""
    judged = _judge(found)

    assert judged is not None
    assert (Outcome.COLLECT, LOST_RACE_UID) == (judged.outcome, judged.uid)
    assert judged.reason.message == (
        "volume pvc-new: it was provisioned for claim default/www-web-0, which was bound to volume pv instead, and it "
        "was never bound; it is moved to the trash"
    )


NO_PROOF: dict[str, tuple[Volume, dict[str, Any]]] = {
    # why nothing is done: (the volume, what is different about the claim)
    "its claim is not bound yet": (lost(), {"bound": False, "volume": ""}),
    "its claim names another, and the bind is not complete": (lost(), {"bound": False}),
    "its claim is bound to it": (lost(), {"volume": MADE}),
    "a claim made anew is there instead": (lost(), {"uid": "newer"}),
    "another claim had it before": (lost(by=(*_held("x", name="other"), *_held("new"))), {}),
    "another claim had it since": (lost(by=(*_held("new"), *_held("x", name="other"))), {}),
    "nobody knows who had it": (lost("a", "", name="pvc-a"), {}),
    "an admin lets anybody have it, data and all": (_anybodys("a", "new"), {}),
    "it has another name": (dataclasses.replace(lost(), name="pvc-other"), {}),
    "it was made by hand": (dataclasses.replace(lost(), annotations={HISTORY: history.write(_held("new"))}), {}),
    "its history cannot be read": (dataclasses.replace(lost(), annotations={**lost().annotations, HISTORY: "?"}), {}),
    "its handle is another's": (dataclasses.replace(lost(), handle="pool.another"), {}),
    "it was found again on a disk": (_recovered(), {}),
    "it is another driver's": (lost(driver="other"), {}),
    "it is bound": (lost(phase="Bound"), {}),
    "it is released": (lost(phase="Released"), {}),
    "it is being deleted": (lost(deleting=True), {}),
    "the controller had chosen it for somebody": (lost(by_controller=True), {}),
    "it names a claim by UID": (lost(ref=("www-web-0", "new")), {}),
    "an admin keeps it for another claim": (lost(ref="other"), {}),
}


@pytest.mark.parametrize("why", NO_PROOF)
def test_without_proof_nothing_is_touched(why: str) -> None:
    """I3: each part of the proof is needed; where one is missing, the volume stays just as it is."""
    found, live = NO_PROOF[why]

    assert _judge(found, **live) is None


def test_a_volume_with_data_stays_the_former_volume_that_it_was() -> None:
    """Adoption lost: the reservation by name is taken back, and the history tells the truth again."""
    judged = _judge(lost("a", "b", "new", name="pvc-a"))

    assert judged is not None
    assert (Outcome.FORMER, "b", ["a", "b"]) == (judged.outcome, judged.uid, [each.claim_uid for each in judged.owners])


def test_a_reservation_that_an_admin_made_is_kept() -> None:
    """The living claim was never to have the volume: somebody keeps it for the next claim of that name, on purpose."""
    assert _judge(lost("a", "b", name="pvc-a")) is None


@pytest.mark.parametrize("live", [None, claim(uid="newer"), claim(uid="newer", bound=True, volume="x")])
def test_when_its_claim_is_gone_a_likely_leftover_is_set_aside_and_kept(live: Any) -> None:
    """Another volume has the gone claim's UID to this day, so this one hardly had it: kept for an admin to look at, for no claim."""
    found = lost()
    judged = lost_race(found, claim=live, others=(found, volume("pv", ref=("www-web-0", "new"), phase="Released")))

    assert judged is not None
    assert (Outcome.RETAIN, "new", "pv") == (judged.outcome, judged.uid, judged.reason.actual)
    former = lost_race(
        lost("a", "new", name="pvc-a"), claim=live, others=(volume("pv", ref=("www-web-0", "new"), phase="Released"),)
    )
    assert former is not None
    assert (Outcome.FORMER, "a") == (former.outcome, former.uid)


@pytest.mark.parametrize("others", [(), (volume("pv", ref=("www-web-0", "old"), phase="Released"),)])
def test_when_its_claim_is_gone_a_reservation_by_name_may_be_an_admins(others: tuple[Volume, ...]) -> None:
    """I2: clearing the UID is how admins keep a volume with data for the next claim of its name; that has to work."""
    found = lost()

    assert lost_race(found, claim=None, others=(found, *others)) is None
    free, other = _anybodys(), volume("pv", ref=("www-web-0", "new"), phase="Released")
    assert lost_race(free, claim=None, others=(free, other)) is None


def judged() -> dict[Outcome, RaceLoser | None]:
    """One of each fate."""
    return {
        Outcome.COLLECT: _judge(lost()),
        Outcome.FORMER: _judge(lost("a", "new", name="pvc-a")),
        Outcome.RETAIN: lost_race(lost(), claim=None, others=(volume("pv", ref=("www-web-0", "new")),)),
    }


@pytest.mark.parametrize("outcome", Outcome)
def test_no_claim_of_that_name_is_bound_to_it_any_more(outcome: Outcome) -> None:
    """Also not one of a namespace of that name made anew, whose tenant is a stranger."""
    found = judged()[outcome]
    assert found is not None
    assert outcome is found.outcome
    after = dataclasses.replace(lost(), claim_ref=ClaimRef("default", "www-web-0", found.uid))
    assert not after.belongs_to(claim(uid="stranger"))
    assert None is lost_race(after, claim=claim(**BOUND), others=())


def test_what_is_collected_carries_the_proof() -> None:
    """Afterwards the claim may go: nothing has to be proven twice."""
    assert is_collected(lost(ref=("www-web-0", LOST_RACE_UID), phase="Released"))
    assert is_collected(lost(ref=("www-web-0", "left-over-says-mooring"), phase="Released"))
    assert not is_collected(lost(ref=("www-web-0", "new")))
    assert not is_collected(lost(ref=("www-web-0", LOST_RACE_UID), driver="other"))
