"""A Node: the fields that storage needs."""

from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.model import names
from provisioner.model.fields import Fields
from provisioner.model.kinds import Object


@dataclass(frozen=True, slots=True)
class Node:
    """A node; its labels show which pools it has."""

    name: str
    uid: str
    labels: Mapping[str, str]
    ready: bool

    @classmethod
    def of(cls, obj: Object) -> "Node":
        """Read an API object; raises InvalidObjectError."""
        fields = Fields("node", obj)
        conditions = fields.objects("status.conditions")
        return cls(
            name=fields.text("metadata.name"),
            uid=fields.text("metadata.uid"),
            labels=fields.mapping("metadata.labels"),
            ready=any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions),
        )

    @property
    def pools(self) -> frozenset[str]:
        """The UUIDs of the pools that its driver reported last."""
        prefix = names.POOL_LABEL_PREFIX
        return frozenset(key.removeprefix(prefix) for key in self.labels if key.startswith(prefix))

    def has_pool(self, uuid: str) -> bool:
        """Report whether this node has the pool, by the label that the controller maintains."""
        return self.labels.get(f"{names.POOL_LABEL_PREFIX}{uuid}") == names.POOL_PRESENT
