"""An admin may choose the former volume of a claim, except where the binder would not bind it."""

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


def test_every_volume_that_a_claim_of_the_name_had_is_a_candidate() -> None:
    """Released volumes and those of an earlier namespace are candidates; those of other claims or no claim are not."""
    old = volume("old", **FORMER)
    elsewhere = volume("elsewhere", **FORMER, namespace_uid="another")
    others = volume("others", ref=("www-web-1", "x"))
    reserved, own = volume("reserved", ref="www-web-0"), volume("own", ref=("www-web-0", "new"))
    foreign = volume("foreign", **FORMER, driver="local.csi.example")

    found = candidates(claim(), [others, old, elsewhere, volume("unowned"), reserved, own, foreign])
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
def test_a_volume_that_the_binder_would_not_bind_is_refused(code: str) -> None:
    """Otherwise the claim would wait, and no other claim could be bound to the volume."""
    requested, actual = REFUSED[code]
    reason = cannot_take(claim(**requested), volume(**{**FORMER, **actual}), storage_class=storage_class())

    assert reason is not None
    assert reason.code == code


def test_another_class_or_a_selector_does_not_prevent_an_assignment() -> None:
    """The binder does not check them when the claimRef names the claim."""
    selective = claim(cls="slow", selector={"matchLabels": {"a": "b"}})

    assert cannot_take(selective, volume(**FORMER), storage_class=storage_class("slow")) is None


def test_a_volume_of_another_attributes_class_is_assigned_and_modified_by_the_controller() -> None:
    """The binder does not bind it before it is modified; until then it is assigned to the name of the claim."""
    requested = claim(vac="gold")

    refused = cannot_take(claim(), volume(**FORMER, vac="gold"), storage_class=storage_class())
    assert refused is not None
    assert "former-attributes-class" == refused.code
    assert cannot_take(requested, volume(**FORMER), storage_class=storage_class()) is None
    assert is_changed_first(requested, volume(**FORMER))
    assert not is_changed_first(requested, volume(**FORMER, vac="gold"))
    assigned = volume(ref=("www-web-0", IMPORTED_UID), vac="gold")
    assert (
        decide(facts(volumes=(assigned, volume("other", **FORMER, vac="gold")), claim=requested)).action is Action.ADOPT
    )


def test_a_volume_that_a_former_version_imported_is_adopted() -> None:
    """Its claimRef still has the UID of that version."""
    imported = volume(ref=("www-web-0", "given-by-mooring-import"))
    decision = decide(facts(volumes=(imported, volume("other", **FORMER))))

    assert (decision.action, decision.volume) == (Action.ADOPT, imported.name)


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("adopts", ["Ordinal", "Claim", "Never"])
def test_a_volume_that_is_too_small_is_assigned_and_expanded_first_where_its_class_allows_it(
    adopts: str, waits: bool
) -> None:
    """The binder does not bind a volume that is smaller than the request, so it is expanded before it is adopted."""
    large, known = claim(size="2Gi"), storage_class(adopt=adopts, waits=waits, expands=True)

    assert cannot_take(large, volume(**FORMER), storage_class=known) is None
    assert is_changed_first(large, volume(**FORMER))
    assert not is_changed_first(claim(), volume(**FORMER))
    assigned = volume(ref=("www-web-0", IMPORTED_UID), phase="Released")
    decision = decide(facts(volumes=(assigned,), claim=large, storage_class=known))
    assert (decision.action, decision.volume) == (Action.EXPAND, "pv")


def test_a_volume_that_is_too_small_and_cannot_be_expanded_is_refused_with_the_next_step() -> None:
    """Only an existing class of Mooring's provisioner that allows expansion would expand it."""
    for known in (storage_class(), storage_class(expands=True, provisioner="other.example"), None):
        reason = cannot_take(claim(size="2Gi"), volume(**FORMER), storage_class=known)
        assert reason is not None
        assert reason.code == "former-too-small"
        assert "request 1Gi, or set allowVolumeExpansion: true on the class" in reason.message


CHECKED_BEFORE_A_CHANGE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # the reason's code: (the claim, the class)
    "former-class": ({"cls": "slow"}, {"name": "slow"}),
    "former-selector": ({"selector": {"matchLabels": {"a": "b"}}}, {}),
    "class-adopt-delete": ({}, {"policy": "Delete"}),
    "former-forgotten": ({}, {}),
}


@pytest.mark.parametrize("code", CHECKED_BEFORE_A_CHANGE)
@pytest.mark.parametrize("change", [{"size": "2Gi"}, {"vac": "gold"}])
def test_a_volume_that_the_controller_changes_first_has_to_pass_its_checks(code: str, change: dict[str, Any]) -> None:
    """Otherwise the volume would be assigned, and the controller would never adopt it."""
    requested, known = CHECKED_BEFORE_A_CHANGE[code]
    changed = claim(**requested, **change)
    if code == "former-forgotten":
        changed.annotations[FORGET] = changed.uid  # type: ignore[index]
    reason = cannot_take(changed, volume(**FORMER), storage_class=storage_class(expands=True, **known))

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
def test_nothing_is_imported_for_a_claim_that_cannot_adopt_it(code: str) -> None:
    """It is refused before data is moved, since no claim could use the volume."""
    arguments = {"claim": claim(), "storage_class": storage_class(), "volumes": [], "class_name": "fast"}
    arguments |= NOT_IMPORTED[code]
    reason = cannot_import(
        "default/www-web-0",
        arguments["claim"],  # type: ignore[arg-type]
        arguments["storage_class"],  # type: ignore[arg-type]
        arguments["volumes"],  # type: ignore[arg-type]
        class_name=arguments["class_name"],  # type: ignore[arg-type]
    )
    assert reason is not None
    assert reason.code == code


def test_a_released_volume_does_not_prevent_an_import() -> None:
    """A class with adopt: Never does not prevent it either, where the claim exists."""
    released = volume(ref=("www-web-0", "old"))
    released.annotations[RELEASED] = "2026-01-01T00:00:00Z"  # type: ignore[index]
    key, never = "default/www-web-0", storage_class(adopt="Never")

    assert cannot_import(key, None, storage_class(), [released], class_name="fast") is None
    assert cannot_import(key, claim(), never, [], class_name="fast") is None


def test_an_assigned_volume_is_adopted_by_a_claim_of_no_ordinal() -> None:
    """Otherwise an empty volume would be provisioned, since the class adopts for ordinals only."""
    assigned = volume(ref=("lone", IMPORTED_UID))
    lone = claim("lone", node="n1")

    assert decide(facts(claim=lone, volumes=(assigned,))).action is Action.ADOPT
    assert decide(facts(claim=lone, volumes=(volume(ref=("lone", "old")),))).action is Action.PROVISION


@pytest.mark.parametrize("waits", [True, False])
def test_an_assigned_volume_is_adopted_in_a_class_that_never_adopts(waits: bool) -> None:
    """The assignment overrides the class; a claim with several assigned volumes waits."""
    scratch = storage_class(adopt="Never", policy="Delete", waits=waits)
    assigned = [volume(name, ref=("www-web-0", IMPORTED_UID), phase="Released") for name in ("pv", "pw")]
    known = {"storage_class": scratch, "stateful_sets": ()}

    assert decide(facts(volumes=(assigned[0], volume("other", **FORMER)), **known)).volume == "pv"
    assert decide(facts(volumes=assigned, **known)).reasons[0].code == "former-several"
    assert decide(facts(volumes=(volume(**FORMER),), **known)).action is Action.PROVISION
    deleting = volume("pv", ref=("www-web-0", IMPORTED_UID), deleting=True)
    assert decide(facts(volumes=(deleting,), **known)).reasons[0].code == "former-deleting"


def test_a_volume_that_a_claim_has_is_not_released() -> None:
    """A volume of another driver or of no claim is not released either."""
    bound = volume(ref=("www-web-0", "new"), phase="Bound")
    reasons = [
        cannot_release(bound, claim()),
        cannot_release(volume(driver="x", ref=("a", "b")), None),
        cannot_release(volume(), None),
    ]

    assert [each.code if each else "" for each in reasons] == ["in-use", "foreign-driver", "unowned"]
    assert cannot_release(volume(**FORMER), claim()) is None
    assert cannot_release(volume(**FORMER), None) is None


def test_a_released_volume_is_no_former_volume() -> None:
    """That holds for its PersistentVolume and for its manifest."""
    released = volume(**FORMER)
    released.annotations[RELEASED] = "2026-01-01T00:00:00Z"  # type: ignore[index]
    recorded = manifest()
    recorded.holder[RELEASED] = "2026-01-01T00:00:00Z"  # type: ignore[index]

    assert decide(facts(volumes=(released,), manifests=(manifest(),))).action is Action.PROVISION
    assert decide(facts(manifests=(recorded,))).action is Action.PROVISION


def test_a_claim_that_forgets_gets_a_new_volume() -> None:
    """The annotation does not apply to a copy of the claim, which has another UID."""
    forgets, copied = claim(node="n1"), claim(node="n1", uid="newer")
    for each in (forgets, copied):
        each.annotations[FORGET] = "new"  # type: ignore[index]

    assert decide(facts(claim=forgets, volumes=(volume(**FORMER),))).action is Action.PROVISION
    assert decide(facts(claim=copied, volumes=(volume(**FORMER),))).action is Action.ADOPT


def test_a_claim_waits_when_its_former_volume_belongs_to_another_cluster() -> None:
    """Its disk was moved to this cluster, or the cluster was recreated; an empty volume would hide the data."""
    moved = manifest(uid="old")
    moved.holder.update({HOLDER_CLUSTER_UID: "old-cluster", HOLDER_STATEFUL_SET: "web"})  # type: ignore[attr-defined]
    known = facts(manifests=(moved,), cluster_uid="new-cluster", namespace_uid="recreated")

    decision = decide(known)
    assert (decision.action, [each.code for each in decision.reasons]) == (Action.WAIT, ["former-cluster"])
    assert "of another cluster (old-cluster)" in decision.message
    for cluster in ("old-cluster", ""):
        same = decide(facts(manifests=(moved,), cluster_uid=cluster, namespace_uid="recreated", nodes=(node(),)))
        assert [each.code for each in same.reasons] == ["former-namespace-object"], (
            "a volume of this cluster, or of an unknown one"
        )


@pytest.mark.parametrize("why", ["released", "forgotten"])
def test_a_sibling_does_not_wait_for_a_released_or_forgotten_volume(why: str) -> None:
    """The other claim of the pod gets a new volume, wherever the former one is."""
    sibling = claim("data-web-0", uid="sib")
    former = volume(ref=("data-web-0", "old"), phase="Released", affinity=ON_ANOTHER_NODE)
    known = beside(facts(volumes=(former,), stateful_sets=(web(templates=("www", "data")),)), claim=sibling)
    assert decide(known).action is Action.WAIT
    if why == "released":
        former.annotations[RELEASED] = "2026-01-01T00:00:00Z"  # type: ignore[index]
    else:
        sibling.annotations[FORGET] = "sib"  # type: ignore[index]

    assert decide(known).action is Action.PROVISION


ON_ANOTHER_NODE = {
    "nodeSelectorTerms": [
        {"matchExpressions": [{"key": "pool.mooring.dev/2", "operator": "In", "values": ["present"]}]},
    ]
}
