"""The owner record of a volume: annotations of its PersistentVolume, labels of its manifest."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from provisioner.model import history
from provisioner.model.history import Owner
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
"""PV annotation → holder label, for what is not in the claimRef."""


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
    Return the labels of the claim as the owner of its volume.

    :param before: the present annotations: a claim whose StatefulSet was deleted keeps its ordinal
    :param policy: the volume's reclaim policy
    :param attributes_class: the volume's VolumeAttributesClass
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
    ordinal = ordinal_of(metadata["name"], sets) or _recorded(metadata["name"], before)
    if ordinal:
        labels |= dict(zip((HOLDER_TEMPLATE, HOLDER_STATEFUL_SET, HOLDER_ORDINAL), ordinal, strict=True))
    return labels


def annotations_of(labels: Mapping[str, str]) -> dict[str, str | None]:
    """Return the same as PV annotations; None removes one."""
    return {annotation: labels.get(label) for annotation, label in ANNOTATIONS.items()}


def history_with(labels: Mapping[str, str], *, before: str = "", manifest: Sequence[Owner] = ()) -> str:
    """
    Return the volume's history with the owner of `labels` as the last; the same text when it is the last already.

    `before` is the present annotation; without one, the owners are read from the `manifest`.
    """
    owners = history.read(before) or manifest
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return history.write(history.lengthened(owners, Owner.of(labels, since=now)))


def ordinal_of(claim: str, sets: Iterable[Object]) -> tuple[str, str, str] | None:
    """Return (template, set, ordinal) of a claim of a StatefulSet; the name is compared, and not split."""
    for each in sets:
        if found := StatefulSet.of(each).ordinal_of(claim):
            return found.template, found.stateful_set, str(found.number)
    return None


def _recorded(claim: str, annotations: Mapping[str, str]) -> tuple[str, str, str] | None:
    template, name, ordinal = (annotations.get(key, "") for key in (TEMPLATE, STATEFUL_SET, ORDINAL))
    return (template, name, ordinal) if claim == f"{template}-{name}-{ordinal}" else None


def labels_of(volume: Object, *, cluster_uid: str) -> dict[str, str]:
    """Return the owner labels for a volume whose claim does not exist, or which is no former volume any more."""
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
