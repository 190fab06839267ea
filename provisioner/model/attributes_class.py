"""A VolumeAttributesClass: the attributes of a volume that can be modified."""

from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.model.fields import Fields
from provisioner.model.kinds import Object


@dataclass(frozen=True, slots=True)
class AttributesClass:
    """The mutable parameters, and the driver that they are for."""

    name: str
    driver: str
    parameters: Mapping[str, str]

    @classmethod
    def of(cls, obj: Object) -> "AttributesClass":
        """Read an API object; raises InvalidObjectError."""
        fields = Fields("volume attributes class", obj)
        return cls(
            name=fields.text("metadata.name"),
            driver=fields.text("driverName"),
            parameters=fields.mapping("parameters"),
        )
