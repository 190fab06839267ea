"""A Pod: the fields that claims need."""

from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.model.fields import Fields
from provisioner.model.kinds import Json, Object


@dataclass(frozen=True, slots=True)
class ClaimVolume:
    """
    One volume of a pod that comes from a claim.

    The claim of an `ephemeral` volume is created for the pod, which may use it only if the pod is the claim's owner.
    """

    name: str
    claim: str
    read_only: bool = False
    ephemeral: bool = False

    def refusal(self, pod: Object, claim: Object | None) -> str:
        """Return why the pod may not use `claim`, the object of that name, for this volume; "" when it may."""
        if claim is None:
            if self.ephemeral:
                return f'persistentvolumeclaim "{self.claim}" is yet to be created for the ephemeral volume {self.name}'
            return f'persistentvolumeclaim "{self.claim}" not found'
        if self.ephemeral and controller_uid(claim) != pod["metadata"]["uid"]:
            return (
                f'persistentvolumeclaim "{self.claim}" was not created for this pod (the pod is not its owner), so it '
                f"is not mounted as the ephemeral volume {self.name}; delete that claim, or rename the volume"
            )
        return ""


def claims_of(pod: Object) -> tuple[ClaimVolume, ...]:
    """
    Return the claims that the pod mounts: those that it names, and those of its generic ephemeral volumes.

    Raises InvalidObjectError. Source: KEP-1698; kubernetes, component-helpers, storage/ephemeral (the claim's name, and
    the check of its owner).
    """
    found = []
    for each in Fields("pod", pod).objects("spec.volumes"):
        volume = Fields("pod volume", each)
        name = volume.text("name")
        if claim := volume.text("persistentVolumeClaim.claimName"):
            found.append(ClaimVolume(name, claim, read_only=volume.flag("persistentVolumeClaim.readOnly")))
        elif volume.raw("ephemeral") is not None:
            found.append(ClaimVolume(name, f"{pod['metadata']['name']}-{name}", ephemeral=True))
    return tuple(found)


def controller_uid(obj: Object) -> str:
    """Return the UID of the object's controller; "" when it has none."""
    references = obj["metadata"].get("ownerReferences") or []
    return next((str(each["uid"]) for each in references if each.get("controller")), "")


@dataclass(frozen=True, slots=True)
class Pod:
    """
    A pod and the claims that it mounts.

    :ivar claims: volume name of the pod → name of the claim
    :ivar ephemeral: names of generic ephemeral volumes, whose claims are deleted with the pod and never adopt a volume
    """

    namespace: str
    name: str
    uid: str
    node_name: str
    claims: Mapping[str, str]
    phase: str
    ready: bool
    deleting: bool
    ephemeral: frozenset[str] = frozenset()
    finalizers: tuple[str, ...] = ()
    started: bool = False
    """Whether its volumes are mounted and its sandbox exists, regardless of its containers."""

    @property
    def ended(self) -> bool:
        """Whether all its containers have terminated and are not restarted."""
        return self.phase in {"Succeeded", "Failed"}

    @property
    def persistent_claims(self) -> frozenset[str]:
        """The claims that are not deleted with the pod."""
        return frozenset(claim for volume, claim in self.claims.items() if volume not in self.ephemeral)

    @classmethod
    def of(cls, obj: Object) -> "Pod":
        """Read an API object; raises InvalidObjectError."""
        fields = Fields("pod", obj)
        volumes = claims_of(obj)
        conditions = fields.objects("status.conditions")
        return cls(
            namespace=fields.text("metadata.namespace", "default"),
            name=fields.text("metadata.name"),
            uid=fields.text("metadata.uid"),
            node_name=fields.text("spec.nodeName"),
            claims={each.name: each.claim for each in volumes},
            ephemeral=frozenset(each.name for each in volumes if each.ephemeral),
            phase=fields.text("status.phase", "Pending"),
            ready=any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions),
            deleting=fields.raw("metadata.deletionTimestamp") is not None,
            finalizers=fields.texts("metadata.finalizers"),
            started=any(
                each.get("type") == "PodReadyToStartContainers" and each.get("status") == "True" for each in conditions
            ),
        )


def cached_fields(obj: Object) -> Json:
    """Return the fields of a pod that this module reads, so that caches of many pods stay small."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    named = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp")
    volumes = spec.get("volumes") or ()
    claims = [each for each in volumes if each.get("persistentVolumeClaim")]
    claims += [{"name": each["name"], "ephemeral": {}} for each in volumes if each.get("ephemeral") is not None]
    return {
        "metadata": {key: metadata[key] for key in named if key in metadata},
        "spec": {"nodeName": spec.get("nodeName") or "", "volumes": claims},
        "status": {key: value for key, value in (obj.get("status") or {}).items() if key in {"phase", "conditions"}},
    }
