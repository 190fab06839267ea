"""The persistentvolume controller's rules U1-U11, B1-B5 and V1-V8c."""

from typing import Any

import pytest

from provisioner.binding.matching.index import Index
from provisioner.binding.matching.pv_controller import ClaimRefChange, claim_step, volume_step
from provisioner.model.storage_class import StorageClass
from tests.unit.provisioner.binding.objects import claim, storage_class, volume

NOW = storage_class(waits=False)
LATER = storage_class(waits=True)
DEFAULT = storage_class("standard", default=True)

CLAIM_ROWS: dict[str, tuple[dict[str, Any], list[dict[str, Any]], StorageClass | None, str, str, str]] = {
    # rule and case: (claim, volumes, class, rule, phase, event's reason)
    "U1 a volume fits": ({}, [{}], NOW, "U1", "Bound", ""),
    "U1 a reserved one in a class that waits": ({}, [{"ref": "www-web-0"}], LATER, "U1", "Bound", ""),
    "U1 a claim that is being deleted is bound": ({"deleting": True}, [{}], NOW, "U1", "Bound", ""),
    "U2 no class, but a default": ({"cls": None}, [], None, "U2", "", ""),
    "U2 not before volumes without a class are matched": ({"cls": None}, [{"cls": ""}], None, "U1", "Bound", ""),
    "U3 waits for a consumer": ({}, [{}], LATER, "U3", "Pending", "WaitForFirstConsumer"),
    "U4 external provisioner": ({}, [], NOW, "U4", "", "ExternalProvisioning"),
    "U4 waits, and a node is selected": ({"node": "n1"}, [{}], LATER, "U4", "", "ExternalProvisioning"),
    "U4 unknown class": ({"cls": "gone"}, [], None, "U4", "", "ProvisioningFailed"),
    "U4 a class without a provisioner": (
        {}, [], storage_class(provisioner="kubernetes.io/no-provisioner", waits=False), "U4", "", "ProvisioningFailed",
    ),
    "U5 the empty class, and nothing fits": ({"cls": ""}, [], None, "U5", "Pending", "FailedBinding"),
    "U6 names a volume that does not exist": ({"volume": "pv"}, [], NOW, "U6", "Pending", ""),
    "U7 names a free volume": ({"volume": "pv"}, [{}], NOW, "U7", "Bound", ""),
    "U8 names a free volume that is too small": ({"volume": "pv", "size": "2Gi"}, [{}], NOW, "U8", "Pending", "VolumeMismatch"),
    "U9 both name each other, unchecked": ({"volume": "pv", "size": "9Gi"}, [{"ref": "www-web-0"}], NOW, "U9", "Bound", ""),
    "U10 names another's volume": ({"volume": "pv"}, [{"ref": "other"}], NOW, "U10", "Pending", "FailedBinding"),
    "U11 the same, chosen by the controller": (
        {"volume": "pv", "by_controller": True}, [{"ref": "other"}], NOW, "U11", "", "FailedBinding",
    ),
    "B1 bound to nothing": ({"bound": True}, [], NOW, "B1", "Lost", "ClaimLost"),
    "B2 its volume does not exist": ({"bound": True, "volume": "pv"}, [], NOW, "B2", "Lost", "ClaimLost"),
    "B3 its volume has no claimRef": ({"bound": True, "volume": "pv"}, [{}], NOW, "B3", "Bound", ""),
    "B4 bound both ways": ({"bound": True, "volume": "pv"}, [{"ref": ("www-web-0", "new")}], NOW, "B4", "Bound", ""),
    "B5 its volume is another's": ({"bound": True, "volume": "pv"}, [{"ref": "other"}], NOW, "B5", "Lost", "ClaimMisbound"),
    "B5 even with the right name but no UID": (
        {"bound": True, "volume": "pv"}, [{"ref": "www-web-0"}], NOW, "B5", "Lost", "ClaimMisbound",
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", CLAIM_ROWS)
def test_claims_follow_upstreams_rules(row: str) -> None:
    """Each row has the number of its rule, the phase and the event."""
    requested, volumes, cls, rule, phase, reason = CLAIM_ROWS[row]
    found = [volume(f"pv{number or ''}", **each) for number, each in enumerate(volumes)]

    step = claim_step(claim(**requested), volumes=Index(found), storage_class=cls, default_class=DEFAULT)

    assert (rule, phase, reason) == (step.rule, step.phase, step.event.reason if step.event else "")
    assert (step.bind_to is not None) == (phase == "Bound")
    assert ("standard" if rule == "U2" else "") == step.set_class
    provisions = rule == "U4" and reason == "ExternalProvisioning"
    assert ("csi.mooring.dev" if provisions else "") == step.provisioner


VOLUME_ROWS: dict[str, tuple[dict[str, Any], dict[str, Any] | None, str, str, ClaimRefChange, bool]] = {
    # rule and case: (volume, the live claim it names, rule, phase, claimRef, reclaim)
    "V1 free": ({"phase": "Pending"}, None, "V1", "Available", ClaimRefChange.KEEP, False),
    "V2 reserved by name": ({"ref": "www-web-0"}, {}, "V2", "Available", ClaimRefChange.KEEP, False),
    "V4 its claim was deleted": ({"ref": ("www-web-0", "old"), "phase": "Bound"}, None, "V4", "Released", ClaimRefChange.KEEP, True),
    "V4 its claim was recreated": ({"ref": ("www-web-0", "old")}, {}, "V4", "Released", ClaimRefChange.KEEP, True),
    "V4 a failed one stays failed": ({"ref": ("x", "old"), "phase": "Failed"}, None, "V4", "Failed", ClaimRefChange.KEEP, True),
    "V6 its claim does not name it yet": ({"ref": ("www-web-0", "new")}, {}, "V6", "", ClaimRefChange.KEEP, False),
    "V7 bound both ways": ({"ref": ("www-web-0", "new")}, {"volume": "pv"}, "V7", "Bound", ClaimRefChange.KEEP, False),
    "V8a its claim is bound to another, policy Delete": (
        {"ref": ("www-web-0", "new"), "policy": "Delete", "provisioned_by": "x"}, {"volume": "pv2"},
        "V8a", "Released", ClaimRefChange.KEEP, True,
    ),
    "V8b the controller had chosen it": (
        {"ref": ("www-web-0", "new"), "by_controller": True}, {"volume": "pv2"},
        "V8b", "Available", ClaimRefChange.CLEAR, False,
    ),
    "V8c a user had chosen it": (
        {"ref": ("www-web-0", "new")}, {"volume": "pv2"}, "V8c", "Available", ClaimRefChange.KEEP_NAME, False,
    ),
    "V8c it was provisioned, and its policy is Retain": (
        {"ref": ("www-web-0", "new"), "provisioned_by": "x"}, {"volume": "pv2"},
        "V8c", "Available", ClaimRefChange.KEEP_NAME, False,
    ),
    "V8c its policy is Delete, and an admin created it": (
        {"ref": ("www-web-0", "new"), "policy": "Delete"}, {"volume": "pv2"},
        "V8c", "Available", ClaimRefChange.KEEP_NAME, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", VOLUME_ROWS)
def test_volumes_follow_upstreams_rules(row: str) -> None:
    """Each row has the number of its rule, the phase, and the change of the claimRef."""
    actual, requested, rule, phase, change, reclaim = VOLUME_ROWS[row]

    step = volume_step(volume(**actual), claim=None if requested is None else claim(**requested))

    assert (rule, phase, change, reclaim) == (step.rule, step.phase, step.claim_ref, step.reclaim)
    assert (rule == "V6") == step.enqueue_claim


def test_a_claim_is_not_bound_to_a_provisioned_volume_of_another_volume_mode() -> None:
    """V6: the claim is not enqueued."""
    step = volume_step(volume(ref=("www-web-0", "new"), mode="Block"), claim=claim())

    assert step.event is not None
    assert (step.event.reason, step.enqueue_claim) == ("VolumeMismatch", False)
