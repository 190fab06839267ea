"""A StorageClass, and its parameters for Mooring."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from provisioner.model import names
from provisioner.model.errors import InvalidParameterError
from provisioner.model.fields import Fields
from provisioner.model.kinds import Object

CSI_PREFIX: Final = "csi.storage.k8s.io/"
FS_TYPE: Final = "csi.storage.k8s.io/fstype"
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "backend": ("directory", "loop"),
    FS_TYPE: ("ext4", "xfs", "btrfs"),
    "provisioning": ("thin", "thick"),
    "adopt": ("Never", "Ordinal", "Claim"),
    "onNodeLoss": ("Wait", "Release"),
    "onNamespaceRecreated": ("Wait", "Fresh"),
}
LOOP_ONLY: Final = (FS_TYPE, "mkfsOptions", "provisioning")
DEFAULT_BACKEND: Final = "directory"
KEYS: Final = (
    "backend", "pool", FS_TYPE, "mkfsOptions", "provisioning", "adopt", "trashRetention", "onNodeLoss",
    "onNamespaceRecreated",
)  # fmt: skip
_DURATION: Final = re.compile(r"(?=[0-9])(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ClassParameters:
    """The validated parameters. `trash_retention` is in seconds; `pool` "" means any pool."""

    backend: str = DEFAULT_BACKEND
    pool: str = ""
    fs_type: str = ""
    provisioning: str = "thin"
    adopt: str = "Never"
    trash_retention: int = 24 * 3600
    on_node_loss: str = "Wait"

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> "ClassParameters":
        """Validate every key and value; raises InvalidParameterError, which lists the valid ones."""
        for key, value in parameters.items():
            if key not in KEYS and not key.startswith(CSI_PREFIX):
                raise InvalidParameterError(f"the parameter {key} is unknown; valid are {', '.join(KEYS)}")
            if key in CHOICES and value not in CHOICES[key]:
                raise InvalidParameterError(
                    f"the parameter {key}: {value!r} is not valid; choose one of {', '.join(CHOICES[key])}"
                )
        backend = parameters.get("backend", DEFAULT_BACKEND)
        for key in LOOP_ONLY:
            if key in parameters and backend != "loop":
                raise InvalidParameterError(
                    f"the parameter {key}: {parameters[key]!r} is possible for backend loop only, and the backend is "
                    f"{backend}; remove it, or set backend: loop"
                )
        return cls(
            backend=backend,
            pool=parameters.get("pool", ""),
            fs_type=parameters.get(FS_TYPE, "ext4" if backend == "loop" else ""),
            provisioning=parameters.get("provisioning", "thin"),
            adopt=parameters.get("adopt", "Never"),
            trash_retention=seconds(parameters.get("trashRetention", "24h")),
            on_node_loss=parameters.get("onNodeLoss", "Wait"),
        )


@dataclass(frozen=True, slots=True)
class StorageClass:
    """A StorageClass. A missing binding mode means Immediate."""

    name: str
    provisioner: str
    parameters: Mapping[str, str]
    reclaim_policy: str
    waits_for_consumer: bool
    allows_expansion: bool
    mount_options: tuple[str, ...]
    is_default: bool
    created: str
    allowed_topologies: tuple[Mapping[str, tuple[str, ...]], ...] = ()
    """Terms, one of which must match: each label has one of the term's values. Without terms every node matches."""

    @classmethod
    def of(cls, obj: Object) -> "StorageClass":
        """Read an API object; raises InvalidObjectError."""
        fields = Fields("storage class", obj)
        annotations = fields.mapping("metadata.annotations")
        marks = (annotations.get(names.DEFAULT_CLASS), annotations.get(names.DEFAULT_CLASS_BETA))
        return cls(
            name=fields.text("metadata.name"),
            provisioner=fields.text("provisioner"),
            parameters=fields.mapping("parameters"),
            reclaim_policy=fields.text("reclaimPolicy", "Delete"),
            waits_for_consumer=fields.text("volumeBindingMode", "Immediate") == "WaitForFirstConsumer",
            allows_expansion=fields.flag("allowVolumeExpansion"),
            mount_options=fields.texts("mountOptions"),
            is_default="true" in marks,
            created=fields.text("metadata.creationTimestamp"),
            allowed_topologies=tuple(map(_term, fields.objects("allowedTopologies"))),
        )

    def allows(self, labels: Mapping[str, str]) -> bool:
        """Report whether volumes may be provisioned on a node with these labels."""
        return not self.allowed_topologies or any(
            all(labels.get(key) in values for key, values in term.items()) for term in self.allowed_topologies
        )

    @property
    def is_managed(self) -> bool:
        """Whether Mooring is its provisioner."""
        return self.provisioner == names.DRIVER

    @property
    def adopts(self) -> str:
        """The parameter `adopt`; read even when another parameter is invalid."""
        return self.parameters.get("adopt", "Never") if self.is_managed else "Never"

    @property
    def releases_on_node_loss(self) -> bool:
        """The parameter `onNodeLoss`; read even when another parameter is invalid."""
        return self.is_managed and self.parameters.get("onNodeLoss") == "Release"

    @property
    def fresh_in_recreated_namespace(self) -> bool:
        """Whether a claim in a recreated namespace gets a new volume instead of waiting for an admin's decision."""
        return self.is_managed and self.parameters.get("onNamespaceRecreated") == "Fresh"


def _term(term: Object) -> Mapping[str, tuple[str, ...]]:
    """Read one of the `allowedTopologies`, which are ORed; its expressions are ANDed."""
    expressions = Fields("topology", term).objects("matchLabelExpressions")
    return {str(each.get("key", "")): tuple(map(str, each.get("values") or ())) for each in expressions}


def seconds(duration: str) -> int:
    """Return the seconds of a trash retention such as ``24h``, ``1h30m`` or ``0s``; raises InvalidParameterError."""
    found = _DURATION.fullmatch(duration)
    if found is None:
        raise InvalidParameterError(
            f"the parameter trashRetention: {duration!r} is not a duration; write for example 30m, 24h or 0s"
        )
    hours, minutes, rest = (int(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + rest


def default_class(classes: "list[StorageClass]") -> StorageClass | None:
    """
    Return the class of a claim that names none: the newest of those marked as default, then the first by name.

    Source: kubernetes, pkg/volume/util, GetDefaultClass.
    """
    marked = sorted((each for each in classes if each.is_default), key=lambda each: each.name)
    return max(marked, key=lambda each: each.created, default=None)
