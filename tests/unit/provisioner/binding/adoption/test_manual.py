"""An admin may decide which former volume a claim gets, and not against what the binder would do."""

from typing import Any

import pytest

from provisioner.binding.adoption.manual import (
    candidates,
    cannot_import,
    cannot_release,
    cannot_take,
    is_changed_first,
)
from provisioner.binding.decide import decide
from provisioner.binding.decision import Action
from provisioner.model.names import FORGET, HOLDER_CLUSTER_UID, HOLDER_STATEFUL_SET, IMPORTED_UID, RELEASED
from tests.unit.provisioner.binding.adoption.test_evaluate import FORMER, beside, facts
from tests.unit.provisioner.binding.objects import claim, manifest, node, storage_class, volume, web


def test_whatever_a_claim_of_the_name_held_can_be_chosen() -> None:
    """Released ones and those of a namespace made anew are among them; what another held, or nobody yet, is not."""
    old = volume("old", **FORMER)
    elsewhere = volume("elsewhere", **FORMER, namespace_uid="another")
    others = volume("others", ref=("www-web-1", "x"))
    reserved, mine = volume("reserved", ref="www-web-0"), volume("mine", ref=("www-web-0", "new"))
    foreign = volume("foreign", **FORMER, driver="local.csi.example")

    found = candidates(claim(), [others, old, elsewhere, volume("unowned"), reserved, mine, foreign])
    assert [each.name for each in found] == ["elsewhere", "old"]


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # the reason's code: (the claim, the volume)
    "bound": ({"volume": "other"}, {}),
    "deleting": ({"deleting": True}, {}),
    "foreign-driver": ({}, {"driver": "local.csi.example"}),
    "other-claim": ({}, {"ref": ("www-web-1", "old")}),
    "former-policy": ({}, {"policy": "Delete"}),
    "former-modes": ({"modes": ("ReadWriteMany",)}, {}),
    "former-too-small": ({"size": "2Gi"}, {}),
    "volume-mode": ({}, {"mode": "Block"}),
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_the_binder_would_undo_is_refused(code: str) -> None:
    """A claimRef that the binder does not follow would leave the claim waiting and the volume lost to others."""
    asked, actual = REFUSED[code]
    reason = cannot_take(claim(**asked), volume(**{**FORMER, **actual}), storage_class=storage_class())

    assert reason is not None
    assert reason.code == code


def test_another_class_or_a_selector_does_not_keep_a_claim_from_its_volume() -> None:
    """The binder does not look at them once the claimRef names the claim."""
    picky = claim(cls="slow", selector={"matchLabels": {"a": "b"}})

    assert cannot_take(picky, volume(**FORMER), storage_class=storage_class("slow")) is None


def test_a_volume_of_another_attributes_class_is_taken_and_changed_by_the_controller() -> None:
    """The binder would not take it as it is; so it is only marked as given, until it was modified."""
    asks = claim(vac="gold")

    refused = cannot_take(claim(), volume(**FORMER, vac="gold"), storage_class=storage_class())
    assert refused is not None
    assert "former-attributes-class" == refused.code
    assert cannot_take(asks, volume(**FORMER), storage_class=storage_class()) is None
    assert is_changed_first(asks, volume(**FORMER))
    assert not is_changed_first(asks, volume(**FORMER, vac="gold"))
    given = volume(ref=("www-web-0", IMPORTED_UID), vac="gold")
    assert decide(facts(volumes=(given, volume("other", **FORMER, vac="gold")), claim=asks)).action is Action.ADOPT


def test_a_volume_that_a_former_version_imported_is_adopted() -> None:
    """Its claimRef still has the UID of that version."""
    imported = volume(ref=("www-web-0", "given-by-mooring-import"))
    decision = decide(facts(volumes=(imported, volume("other", **FORMER))))

    assert (decision.action, decision.volume) == (Action.ADOPT, imported.name)


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("adopts", ["Ordinal", "Claim", "Never"])
def test_a_volume_that_is_too_small_is_given_and_expanded_first_where_its_class_lets_it(
    adopts: str, waits: bool
) -> None:
    """The binder takes no volume smaller than the request, so it only changes hands once it has been expanded."""
    large, known = claim(size="2Gi"), storage_class(adopt=adopts, waits=waits, expands=True)

    assert cannot_take(large, volume(**FORMER), storage_class=known) is None
    assert is_changed_first(large, volume(**FORMER))
    assert not is_changed_first(claim(), volume(**FORMER))
    given = volume(ref=("www-web-0", IMPORTED_UID), phase="Released")
    decision = decide(facts(volumes=(given,), claim=large, storage_class=known))
    assert (decision.action, decision.volume) == (Action.EXPAND, "pv")


def test_a_volume_that_is_too_small_is_refused_with_the_way_out_where_nothing_expands_it() -> None:
    """Neither a class that does not expand, nor one that is not ours or does not exist, would ever bind it."""
    for known in (storage_class(), storage_class(expands=True, provisioner="other.example"), None):
        reason = cannot_take(claim(size="2Gi"), volume(**FORMER), storage_class=known)
        assert reason is not None
        assert reason.code == "former-too-small"
        assert "request 1Gi, or set allowVolumeExpansion: true on the class" in reason.message


CHANGED_BEFORE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # the reason's code: (the claim, the class)
    "former-class": ({"cls": "slow"}, {"name": "slow"}),
    "former-selector": ({"selector": {"matchLabels": {"a": "b"}}}, {}),
    "class-adopt-delete": ({}, {"policy": "Delete"}),
    "former-forgotten": ({}, {}),
}


@pytest.mark.parametrize("code", CHANGED_BEFORE)
@pytest.mark.parametrize("change", [{"size": "2Gi"}, {"vac": "gold"}])
def test_what_the_controller_has_to_change_first_must_pass_its_checks(code: str, change: dict[str, Any]) -> None:
    """A volume that is only marked as given, and that the controller then refuses, would be promised in vain."""
    asked, known = CHANGED_BEFORE[code]
    mine = claim(**asked, **change)
    if code == "former-forgotten":
        mine.annotations[FORGET] = mine.uid  # type: ignore[index]
    reason = cannot_take(mine, volume(**FORMER), storage_class=storage_class(expands=True, **known))

    assert reason is not None
    assert reason.code == code


NOT_IMPORTED: dict[str, dict[str, Any]] = {
    "bound": {"claim": claim(volume="other")},
    "deleting": {"claim": claim(deleting=True)},
    "import-no-class": {"claim": None, "class_name": ""},
    "class-unknown": {"storage_class": None},
    "class-foreign": {"storage_class": storage_class(provisioner="other.example")},
    "import-class-never-adopts": {"claim": None, "storage_class": storage_class(adopt="Never")},
    "import-claim-bound": {"volumes": [volume(ref=("www-web-0", "old"))]},
}


@pytest.mark.parametrize("code", NOT_IMPORTED)
def test_nothing_is_imported_for_a_claim_that_could_not_have_it(code: str) -> None:
    """What was moved into a volume already would be of no use to anybody."""
    asked = {"claim": claim(), "storage_class": storage_class(), "volumes": [], "class_name": "fast"}
    asked |= NOT_IMPORTED[code]
    reason = cannot_import(
        "default/www-web-0",
        asked["claim"],  # type: ignore[arg-type]
        asked["storage_class"],  # type: ignore[arg-type]
        asked["volumes"],  # type: ignore[arg-type]
        class_name=asked["class_name"],  # type: ignore[arg-type]
    )
    assert reason is not None
    assert reason.code == code


def test_a_released_volume_does_not_stand_in_an_imports_way() -> None:
    """Nor does a class that adopts nothing, where the claim is there to be named."""
    gone = volume(ref=("www-web-0", "old"))
    gone.annotations[RELEASED] = "2026-01-01T00:00:00Z"  # type: ignore[index]
    key, never = "default/www-web-0", storage_class(adopt="Never")

    assert cannot_import(key, None, storage_class(), [gone], class_name="fast") is None
    assert cannot_import(key, claim(), never, [], class_name="fast") is None


def test_what_an_admin_gave_is_adopted_by_a_claim_that_is_no_ordinal() -> None:
    """Its class adopts ordinals, and the claim is none: an empty volume would be made otherwise."""
    given = volume(ref=("lone", IMPORTED_UID))
    lone = claim("lone", node="n1")

    assert decide(facts(claim=lone, volumes=(given,))).action is Action.ADOPT
    assert decide(facts(claim=lone, volumes=(volume(ref=("lone", "old")),))).action is Action.PROVISION


@pytest.mark.parametrize("waits", [True, False])
def test_what_an_admin_gave_comes_back_in_a_class_that_never_adopts(waits: bool) -> None:
    """The admin's word counts, whatever the class does by itself; several of them leave the claim waiting."""
    scratch = storage_class(adopt="Never", policy="Delete", waits=waits)
    given = [volume(name, ref=("www-web-0", IMPORTED_UID), phase="Released") for name in ("pv", "pw")]
    known = {"storage_class": scratch, "stateful_sets": ()}

    assert decide(facts(volumes=(given[0], volume("other", **FORMER)), **known)).volume == "pv"
    assert decide(facts(volumes=given, **known)).reasons[0].code == "former-several"
    assert decide(facts(volumes=(volume(**FORMER),), **known)).action is Action.PROVISION
    released = volume("pv", ref=("www-web-0", IMPORTED_UID), deleting=True)
    assert decide(facts(volumes=(released,), **known)).reasons[0].code == "former-deleting"


def test_a_volume_that_somebody_has_is_not_let_go() -> None:
    """Nor is one of another driver, or one that is nobody's."""
    held = volume(ref=("www-web-0", "new"), phase="Bound")
    reasons = [
        cannot_release(held, claim()),
        cannot_release(volume(driver="x", ref=("a", "b")), None),
        cannot_release(volume(), None),
    ]

    assert [each.code if each else "" for each in reasons] == ["in-use", "foreign-driver", "unowned"]
    assert cannot_release(volume(**FORMER), claim()) is None
    assert cannot_release(volume(**FORMER), None) is None


def test_a_released_volume_is_nobodys_former_one() -> None:
    """Neither by its object nor by its manifest."""
    gone = volume(**FORMER)
    gone.annotations[RELEASED] = "2026-01-01T00:00:00Z"  # type: ignore[index]
    told = manifest()
    told.holder[RELEASED] = "2026-01-01T00:00:00Z"  # type: ignore[index]

    assert decide(facts(volumes=(gone,), manifests=(manifest(),))).action is Action.PROVISION
    assert decide(facts(manifests=(told,))).action is Action.PROVISION


def test_a_claim_that_forgets_gets_a_new_volume() -> None:
    """Only the claim itself: its copy under another UID carries the annotation, and does not forget."""
    forgets, copied = claim(node="n1"), claim(node="n1", uid="newer")
    for each in (forgets, copied):
        each.annotations[FORGET] = "new"  # type: ignore[index]

    assert decide(facts(claim=forgets, volumes=(volume(**FORMER),))).action is Action.PROVISION
    assert decide(facts(claim=copied, volumes=(volume(**FORMER),))).action is Action.ADOPT


def test_a_volume_of_another_cluster_keeps_the_claim_waiting() -> None:
    """Its disk has been brought here, or this cluster was made anew: an empty volume instead would be silent loss."""
    brought = manifest(uid="elsewhere")
    brought.holder.update({HOLDER_CLUSTER_UID: "old-cluster", HOLDER_STATEFUL_SET: "web"})  # type: ignore[attr-defined]
    stranger = facts(manifests=(brought,), cluster_uid="here", namespace_uid="made-anew")

    decision = decide(stranger)
    assert (decision.action, [each.code for each in decision.reasons]) == (Action.WAIT, ["former-cluster"])
    assert "of another cluster (old-cluster)" in decision.message
    for cluster in ("old-cluster", ""):
        same = decide(facts(manifests=(brought,), cluster_uid=cluster, namespace_uid="recreated", nodes=(node(),)))
        assert [each.code for each in same.reasons] == ["former-namespace-object"], (
            "of this cluster, or of which is unknown"
        )


@pytest.mark.parametrize("gone", ["released", "forgotten"])
def test_a_sibling_does_not_wait_for_what_was_let_go(gone: str) -> None:
    """The other claim of the pod gets a new volume, wherever its former one is."""
    sibling = claim("data-web-0", uid="sib")
    former = volume(ref=("data-web-0", "old"), phase="Released", affinity=ON_ANOTHER_NODE)
    known = beside(facts(volumes=(former,), stateful_sets=(web(templates=("www", "data")),)), claim=sibling)
    assert decide(known).action is Action.WAIT
    if gone == "released":
        former.annotations[RELEASED] = "2026-01-01T00:00:00Z"  # type: ignore[index]
    else:
        sibling.annotations[FORGET] = "sib"  # type: ignore[index]

    assert decide(known).action is Action.PROVISION


ON_ANOTHER_NODE = {
    "nodeSelectorTerms": [
        {"matchExpressions": [{"key": "pool.mooring.dev/2", "operator": "In", "values": ["present"]}]},
    ]
}
