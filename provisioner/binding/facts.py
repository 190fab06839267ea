"""All that was observed about one claim before deciding."""

from dataclasses import dataclass, field

from provisioner.binding.matching.index import Index
from provisioner.model.attributes_class import AttributesClass
from provisioner.model.claim import Claim
from provisioner.model.inventory import Manifest
from provisioner.model.node import Node
from provisioner.model.pod import Pod
from provisioner.model.stateful_set import Ordinal, StatefulSet
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume


@dataclass(frozen=True, slots=True)
class Facts:
    """
    A claim and its surroundings, observed at one moment; only `volumes` go on changing, with the events that come in.

    `storage_class` and `attributes_class` are None when the claim names none or one that does not exist. `manifests`
    are those, in the trash or not, whose last holder was a claim of this name in a namespace of this name.
    `stateful_sets` are those of the namespace; `pods` those that mount the claim. `siblings` are the other claims of
    the same pod, each with its own surroundings but without siblings; `missing` the names of those that the StatefulSet
    has yet to make. `cluster_uid` is "" while it is not known.
    """

    claim: Claim
    volumes: Index = field(default_factory=Index)
    storage_class: StorageClass | None = None
    attributes_class: AttributesClass | None = None
    namespace_uid: str = ""
    stateful_sets: tuple[StatefulSet, ...] = ()
    manifests: tuple[Manifest, ...] = ()
    nodes: tuple[Node, ...] = ()
    pods: tuple[Pod, ...] = ()
    siblings: "tuple[Facts, ...]" = ()
    missing: tuple[str, ...] = ()
    cluster_uid: str = ""

    @property
    def node(self) -> Node | None:
        """The node that the scheduler selected, if it exists."""
        return next((node for node in self.nodes if node.name == self.claim.selected_node), None)

    @property
    def named(self) -> Volume | None:
        """The volume that the claim names, if it exists."""
        return self.volumes.get(self.claim.volume_name)

    @property
    def stateful_set(self) -> StatefulSet | None:
        """The set that the claim is an ordinal of; of two whose names make the same claim, the one that stays."""
        owners = [each for each in self.stateful_sets if each.ordinal_of(self.claim.name)]
        return min(owners, key=lambda each: each.deleting, default=None)

    @property
    def ordinals(self) -> tuple[Ordinal, ...]:
        """What the claim is, by the StatefulSets that stay; two may make a claim of the same name."""
        found = (each.ordinal_of(self.claim.name) for each in self.stateful_sets if not each.deleting)
        return tuple(each for each in found if each)

    @property
    def waits_for_consumer(self) -> bool:
        """Whether the claim's class leaves the choice of a node to the scheduler."""
        return self.storage_class is not None and self.storage_class.waits_for_consumer
