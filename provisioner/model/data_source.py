"""
The data source of a claim: what its volume is populated from, and which component populates it.

A claim with a data source never gets a new, empty volume. It adopts its former volume if it has one (`binding`), and is
matched with existing volumes regardless of the source, as by upstream's binder. Instead of an empty volume, depending
on the source's kind, the claim waits or is left to a populator.
"""

import enum
from dataclasses import dataclass
from typing import Final

from provisioner.model.fields import Fields
from provisioner.model.kinds import Object

_KINDS: Final = {("snapshot.storage.k8s.io", "VolumeSnapshot"), ("", "PersistentVolumeClaim")}
"""The kinds that a CSI driver populates itself: (API group, kind). Source: external-provisioner, pkg/controller."""


class Populator(enum.Enum):
    """The component that populates a volume from a data source."""

    DRIVER = "driver"
    """The CSI driver, by CreateVolume with a volume_content_source."""
    EXTERNAL = "external"
    """A volume populator, which also provisions the volume."""
    NONE = "none"
    """None: the source is in another namespace, which needs a ReferenceGrant, and those are not supported."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """One object that a claim refers to. `api_group` is "" for the core group, `namespace` "" for the claim's own."""

    api_group: str
    kind: str
    name: str
    namespace: str = ""

    @classmethod
    def of_claim(cls, fields: Fields) -> "DataSource | None":
        """
        Read `spec.dataSourceRef`, or `spec.dataSource` where that is not set; None without either.

        The API server copies one to the other where it can. Raises InvalidObjectError.
        """
        return fields.read("spec.dataSourceRef", cls.of) or fields.read("spec.dataSource", cls.of)

    @classmethod
    def of(cls, obj: Object) -> "DataSource":
        """Read a TypedLocalObjectReference or a TypedObjectReference; raises InvalidObjectError."""
        fields = Fields("data source", obj)
        return cls(fields.text("apiGroup"), fields.text("kind"), fields.text("name"), fields.text("namespace"))

    @property
    def populator(self) -> Populator:
        """The component that populates a volume from it."""
        if self.namespace:
            return Populator.NONE
        return Populator.DRIVER if (self.api_group, self.kind) in _KINDS else Populator.EXTERNAL

    def __str__(self) -> str:
        return f"{self.kind}{'.' if self.api_group else ''}{self.api_group} {self.name}"
