"""
The pod and the claims of a StatefulSet's ordinal, with their names and labels, as pure functions.

Source: kubernetes, pkg/controller/statefulset/stateful_set_utils.go.
"""

import copy
import hashlib
import json
import re
from typing import Final

from provisioner.model.kinds import POD, STATEFUL_SET, Json, Kind, Object
from provisioner.model.names import POD_INDEX_LABEL, POD_NAME_LABEL, REVISION_LABEL

_TAIL: Final = re.compile(r"(.*)-(0|[1-9][0-9]*)", re.ASCII)


def pod_name(stateful_set: Object, ordinal: int) -> str:
    """Return ``<set>-<ordinal>``."""
    return f"{stateful_set['metadata']['name']}-{ordinal}"


def ordinal_of(stateful_set: Object, pod: Object) -> int | None:
    """Return the pod's ordinal in this set; None for a pod of another name."""
    found = _TAIL.fullmatch(pod["metadata"]["name"])
    return int(found[2]) if found and found[1] == stateful_set["metadata"]["name"] else None


def owner_reference(kind: Kind, owner: Object) -> Json:
    """Return an owner reference that makes `owner` the controller."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def revision_of(stateful_set: Object) -> str:
    """Return the revision of the pod template; equal templates have the same revision."""
    template = json.dumps(stateful_set["spec"]["template"], sort_keys=True)
    return f"{stateful_set['metadata']['name']}-{hashlib.sha256(template.encode()).hexdigest()[:10]}"


def templates_of(stateful_set: Object) -> list[Json]:
    """Return the set's volumeClaimTemplates."""
    return list(stateful_set["spec"].get("volumeClaimTemplates") or [])


def claim_names(stateful_set: Object, ordinal: int) -> dict[str, str]:
    """Return the claim name ``<template>-<set>-<ordinal>`` of each template, by the template's name."""
    name = pod_name(stateful_set, ordinal)
    return {each["metadata"]["name"]: f"{each['metadata']['name']}-{name}" for each in templates_of(stateful_set)}


def new_claim(stateful_set: Object, template: Object, ordinal: int) -> Json:
    """Return the claim of one template for one ordinal; labels of the set's selector override the template's."""
    metadata = template["metadata"]
    labels = {
        **(metadata.get("labels") or {}),
        **((stateful_set["spec"].get("selector") or {}).get("matchLabels") or {}),
    }
    claim: Json = {
        "metadata": {
            "name": f"{metadata['name']}-{pod_name(stateful_set, ordinal)}",
            "namespace": stateful_set["metadata"]["namespace"],
            "labels": labels,
        },
        "spec": copy.deepcopy(template["spec"]),
    }
    if metadata.get("annotations"):
        claim["metadata"]["annotations"] = dict(metadata["annotations"])
    if owners := claim_owners(stateful_set, claim, pod=None, scaled_down=False):
        # Set at creation: the set may be deleted before it is reconciled again.
        claim["metadata"]["ownerReferences"] = owners
    return claim


def new_pod(stateful_set: Object, ordinal: int) -> Json:
    """Return the pod of one ordinal, with a volume for each of its claims."""
    template = copy.deepcopy(stateful_set["spec"]["template"])
    metadata, spec = template.get("metadata") or {}, template["spec"]
    name = pod_name(stateful_set, ordinal)
    claims = claim_names(stateful_set, ordinal)
    volumes = [each for each in spec.get("volumes") or [] if each["name"] not in claims]
    volumes += [{"name": each, "persistentVolumeClaim": {"claimName": claim}} for each, claim in claims.items()]
    spec["hostname"] = name
    if stateful_set["spec"].get("serviceName"):
        spec["subdomain"] = stateful_set["spec"]["serviceName"]
    if volumes:
        spec["volumes"] = volumes
    labels = {
        **(metadata.get("labels") or {}),
        POD_NAME_LABEL: name,
        POD_INDEX_LABEL: str(ordinal),
        REVISION_LABEL: revision_of(stateful_set),
    }
    pod: Json = {
        "metadata": {
            "name": name,
            "namespace": stateful_set["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(STATEFUL_SET, stateful_set)],
        },
        "spec": spec,
    }
    if metadata.get("annotations"):
        pod["metadata"]["annotations"] = metadata["annotations"]
    return pod


def claim_owners(stateful_set: Object, claim: Object, *, pod: Object | None, scaled_down: bool) -> list[Json] | None:
    """
    Return the claim's owner references for the retention policy; None when there is nothing to change.

    Owner references to other objects stay. A claim of an earlier set of this name is not changed: the garbage collector
    deletes it according to that set's policy. Source: kubernetes, updateClaimOwnerRefForSetAndPod.

    :param pod: the ordinal's pod, if it exists
    :param scaled_down: the ordinal is outside the set's range, so its pod is deleted
    """
    before = claim["metadata"].get("ownerReferences") or []
    if any(_refers_to(each, STATEFUL_SET, stateful_set["metadata"]["name"]) for each in before) and not any(
        each["uid"] == stateful_set["metadata"]["uid"] for each in before
    ):
        return None
    when_scaled, when_deleted = retention_of(stateful_set)
    ordinals_pod = _pod_name_of(stateful_set, claim)
    owners = [
        each
        for each in before
        if not _refers_to(each, STATEFUL_SET, stateful_set["metadata"]["name"])
        and not _refers_to(each, POD, ordinals_pod)
    ]
    if when_scaled == "Delete" and scaled_down and pod is not None:
        owners.append(owner_reference(POD, pod))
    elif when_deleted == "Delete" and not (when_scaled == "Delete" and scaled_down):
        owners.append(owner_reference(STATEFUL_SET, stateful_set))
    return None if {each["uid"] for each in owners} == {each["uid"] for each in before} else owners


def claim_is_stale(stateful_set: Object, claim: Object) -> bool:
    """
    Report whether the claim is still owned by a pod of its ordinal that was deleted by scaling down.

    Call this when the ordinal has no pod: the garbage collector is about to delete the claim, so a new pod must not
    use it. Source: kubernetes, PodClaimIsStale.
    """
    ordinals_pod = _pod_name_of(stateful_set, claim)
    references = claim["metadata"].get("ownerReferences") or []
    return retention_of(stateful_set)[0] == "Delete" and any(_refers_to(each, POD, ordinals_pod) for each in references)


def retention_of(stateful_set: Object) -> tuple[str, str]:
    """Return the retention policies of claims, Retain or Delete: (whenScaled, whenDeleted)."""
    policy = stateful_set["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    return policy.get("whenScaled") or "Retain", policy.get("whenDeleted") or "Retain"


def _refers_to(reference: Object, kind: Kind, name: str) -> bool:
    return bool(reference["kind"] == kind.name and reference["name"] == name)


def _pod_name_of(stateful_set: Object, claim: Object) -> str:
    """Return the name of the claim's pod, "" for none; names may contain dashes, so each template's prefix is tried."""
    name = str(claim["metadata"]["name"])
    prefixes = [
        f"{each['metadata']['name']}-{stateful_set['metadata']['name']}-" for each in templates_of(stateful_set)
    ]
    prefix = next((each for each in prefixes if name.startswith(each) and name[len(each) :].isdecimal()), None)
    return f"{stateful_set['metadata']['name']}-{name[len(prefix) :]}" if prefix else ""
