"""The labels that say who holds a volume: annotations of its PersistentVolume, labels of its manifest."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from provisioner.model import history
from provisioner.model.history import Held
from provisioner.model.kinds import Object
from provisioner.model.names import (
    HOLDER_ACCESS_MODES,
    HOLDER_ATTRIBUTES_CLASS,
    HOLDER_CLAIM,
    HOLDER_CLAIM_UID,
    HOLDER_CLASS,
    HOLDER_CLUSTER_UID,
    HOLDER_NAMESPACE,
    HOLDER_NAMESPACE_UID,
    HOLDER_ORDINAL,
    HOLDER_RECLAIM_POLICY,
    HOLDER_STATEFUL_SET,
    HOLDER_TEMPLATE,
    NAMESPACE_UID,
    ORDINAL,
    RELEASED,
    STATEFUL_SET,
    TEMPLATE,
)
from provisioner.model.stateful_set import StatefulSet

ANNOTATIONS = {
    NAMESPACE_UID: HOLDER_NAMESPACE_UID,
    STATEFUL_SET: HOLDER_STATEFUL_SET,
    TEMPLATE: HOLDER_TEMPLATE,
    ORDINAL: HOLDER_ORDINAL,
}
"""PV annotation → holder label: what claimRef does not say already."""


def holder_labels(
    claim: Object,
    *,
    namespace_uid: str,
    cluster_uid: str,
    sets: Iterable[Object],
    before: Mapping[str, str],
    policy: str,
    attributes_class: str = "",
) -> dict[str, str]:
    """
    Who holds the claim's volume.

    `before` are the annotations so far: a claim that outlives its StatefulSet keeps the ordinal it was made for.
    `policy` is the volume's reclaim policy, and `attributes_class` its VolumeAttributesClass.
    """
    metadata = claim["metadata"]
    labels = {
        HOLDER_NAMESPACE: metadata["namespace"],
        HOLDER_NAMESPACE_UID: namespace_uid,
        HOLDER_CLAIM: metadata["name"],
        HOLDER_CLAIM_UID: metadata["uid"],
        HOLDER_RECLAIM_POLICY: policy,
        HOLDER_CLASS: claim["spec"].get("storageClassName") or "",
        HOLDER_ACCESS_MODES: ",".join(claim["spec"].get("accessModes") or ()),
    }
    if cluster_uid:
        labels[HOLDER_CLUSTER_UID] = cluster_uid
    if attributes_class:
        labels[HOLDER_ATTRIBUTES_CLASS] = attributes_class
    place = ordinal_of(metadata["name"], sets) or _recorded(metadata["name"], before)
    if place:
        labels |= dict(zip((HOLDER_TEMPLATE, HOLDER_STATEFUL_SET, HOLDER_ORDINAL), place, strict=True))
    return labels


def annotations_of(labels: Mapping[str, str]) -> dict[str, str | None]:
    """The same as PV annotations; None for one that must not be there."""
    return {annotation: labels.get(label) for annotation, label in ANNOTATIONS.items()}


def history_with(labels: Mapping[str, str], *, before: str = "", manifest: Sequence[Held] = ()) -> str:
    """
    The volume's history with its holder of `labels` as the last; the same text when it is that already.

    `before` is the annotation so far; where there is none, `manifest` tells who had the volume.
    """
    held = history.read(before) or manifest
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return history.write(history.lengthened(held, Held.of(labels, since=now)))


def ordinal_of(claim: str, sets: Iterable[Object]) -> tuple[str, str, str] | None:
    """(template, set, ordinal) when the claim's name is one that a StatefulSet makes; names are never parsed alone."""
    for each in sets:
        if found := StatefulSet.of(each).ordinal_of(claim):
            return found.template, found.stateful_set, str(found.number)
    return None


def _recorded(claim: str, annotations: Mapping[str, str]) -> tuple[str, str, str] | None:
    template, name, ordinal = (annotations.get(key, "") for key in (TEMPLATE, STATEFUL_SET, ORDINAL))
    return (template, name, ordinal) if claim == f"{template}-{name}-{ordinal}" else None


def labels_of(volume: Object, *, cluster_uid: str) -> dict[str, str]:
    """What the manifest of a volume says whose claim is not there, or has it as its former one no longer."""
    annotations, spec = volume["metadata"]["annotations"], volume["spec"]
    labels = {label: annotations.get(annotation, "") for annotation, label in ANNOTATIONS.items()} | {
        HOLDER_CLUSTER_UID: cluster_uid,
        HOLDER_NAMESPACE: spec["claimRef"]["namespace"],
        HOLDER_CLAIM: spec["claimRef"]["name"],
        HOLDER_CLAIM_UID: spec["claimRef"]["uid"],
        HOLDER_RECLAIM_POLICY: spec.get("persistentVolumeReclaimPolicy", "Retain"),
        HOLDER_CLASS: spec.get("storageClassName") or "",
        HOLDER_ACCESS_MODES: ",".join(spec.get("accessModes") or ()),
        HOLDER_ATTRIBUTES_CLASS: spec.get("volumeAttributesClassName") or "",
        RELEASED: annotations.get(RELEASED, ""),
    }
    return {label: value for label, value in labels.items() if value}
