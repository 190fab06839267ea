"""A Pod, as far as claims care."""

from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.model.fields import Fields
from provisioner.model.kinds import Json, Object


@dataclass(frozen=True, slots=True)
class Pod:
    """The pod and the claims it mounts: `claims` maps the pod's volume name to the claim's name."""

    namespace: str
    name: str
    uid: str
    node_name: str
    claims: Mapping[str, str]
    phase: str
    ready: bool
    deleting: bool

    @classmethod
    def of(cls, obj: Object) -> "Pod":
        """Read an API object; raises InvalidObject."""
        fields = Fields("pod", obj)
        claims = {}
        for each in fields.objects("spec.volumes"):
            source = Fields("pod volume", each)
            if claim := source.text("persistentVolumeClaim.claimName"):
                claims[source.text("name")] = claim
        conditions = fields.objects("status.conditions")
        return cls(
            namespace=fields.text("metadata.namespace", "default"),
            name=fields.text("metadata.name"),
            uid=fields.text("metadata.uid"),
            node_name=fields.text("spec.nodeName"),
            claims=claims,
            phase=fields.text("status.phase", "Pending"),
            ready=any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions),
            deleting=fields.raw("metadata.deletionTimestamp") is not None,
        )


def kept(obj: Object) -> Json:
    """The parts of a pod that are read here: a cluster has many pods, and most of each is of no use to storage."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    named = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp")
    claims = [each for each in spec.get("volumes") or () if each.get("persistentVolumeClaim")]
    return {
        "metadata": {key: metadata[key] for key in named if key in metadata},
        "spec": {"nodeName": spec.get("nodeName") or "", "volumes": claims},
        "status": {key: value for key, value in (obj.get("status") or {}).items() if key in {"phase", "conditions"}},
    }
