"""
What a StatefulSet gives each ordinal: a pod, its claims, their names and labels. Pure.

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
    """``<set>-<ordinal>``"""
    return f"{stateful_set['metadata']['name']}-{ordinal}"


def ordinal_of(stateful_set: Object, pod: Object) -> int | None:
    """The pod's ordinal in this set; None for a pod of another name."""
    found = _TAIL.fullmatch(pod["metadata"]["name"])
    return int(found[2]) if found and found[1] == stateful_set["metadata"]["name"] else None


def owner_reference(kind: Kind, owner: Object) -> Json:
    """A reference that makes `owner` the controller."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_uid(obj: Object) -> str:
    """The UID of the object's controller; "" when it has none."""
    references = obj["metadata"].get("ownerReferences") or []
    return next((each["uid"] for each in references if each.get("controller")), "")


def revision_of(stateful_set: Object) -> str:
    """A name for the pod template as it is now; two templates that are equal have the same."""
    template = json.dumps(stateful_set["spec"]["template"], sort_keys=True)
    return f"{stateful_set['metadata']['name']}-{hashlib.sha256(template.encode()).hexdigest()[:10]}"


def templates_of(stateful_set: Object) -> list[Json]:
    """Its volumeClaimTemplates."""
    return list(stateful_set["spec"].get("volumeClaimTemplates") or [])


def claim_names(stateful_set: Object, ordinal: int) -> dict[str, str]:
    """Template → claim name ``<template>-<set>-<ordinal>``."""
    name = pod_name(stateful_set, ordinal)
    return {each["metadata"]["name"]: f"{each['metadata']['name']}-{name}" for each in templates_of(stateful_set)}


def new_claim(stateful_set: Object, template: Object, ordinal: int) -> Json:
    """The claim of one template for one ordinal; labels of the set's selector win over the template's."""
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
    return claim


def new_pod(stateful_set: Object, ordinal: int) -> Json:
    """The pod of one ordinal, with a volume for each of its claims."""
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


def claim_owners(stateful_set: Object, claim: Object, *, pod: Object | None, condemned: bool) -> list[Json] | None:
    """
    The claim's owner references as the retention policy wants them; None when they are right already.

    References of anybody else stay. Source: kubernetes, updateClaimOwnerRefForSetAndPod.
    """
    policy = stateful_set["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    when_scaled = policy.get("whenScaled", "Retain") == "Delete"
    when_deleted = policy.get("whenDeleted", "Retain") == "Delete"
    before = claim["metadata"].get("ownerReferences") or []
    name = stateful_set["metadata"]["name"]
    pod_names = (
        {pod["metadata"]["name"]}
        if pod
        else {claim["metadata"]["name"].removeprefix(f"{t}-") for t in _stems(stateful_set, claim)}
    )
    kept = [
        each
        for each in before
        if not (each["kind"] == STATEFUL_SET.name and each["name"] == name)
        and not (each["kind"] == POD.name and each["name"] in pod_names)
    ]
    if when_scaled and condemned and pod is not None:
        kept.append(owner_reference(POD, pod))
    elif when_deleted and not (when_scaled and condemned):
        kept.append(owner_reference(STATEFUL_SET, stateful_set))
    return None if {each["uid"] for each in kept} == {each["uid"] for each in before} else kept


def _stems(stateful_set: Object, claim: Object) -> list[str]:
    names = [each["metadata"]["name"] for each in templates_of(stateful_set)]
    return [each for each in names if claim["metadata"]["name"].startswith(f"{each}-")]
