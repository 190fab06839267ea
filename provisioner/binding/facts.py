"""The facts about one claim on which a decision is based."""

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
    A claim and the objects around it, observed at one moment; only `volumes` is updated by later events.

    :ivar storage_class: the claim's class; None when it names none, or one that does not exist
    :ivar attributes_class: likewise
    :ivar manifests: those, also in the trash, whose last owner was a claim of this name in a namespace of this name
    :ivar stateful_sets: those of the namespace
    :ivar pods: those that mount the claim
    :ivar siblings: the facts of the other claims of the same pod, which have no siblings themselves
    :ivar missing: names of the siblings that the StatefulSet has not created yet
    :ivar cluster_uid: "" while it is unknown
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
        """The selected node, if it exists."""
        return next((node for node in self.nodes if node.name == self.claim.selected_node), None)

    @property
    def named(self) -> Volume | None:
        """The volume that the claim names, if it exists."""
        return self.volumes.get(self.claim.volume_name)

    @property
    def stateful_set(self) -> StatefulSet | None:
        """The set that the claim is an ordinal of; of two such sets, the one that is not being deleted."""
        owners = [each for each in self.stateful_sets if each.ordinal_of(self.claim.name)]
        return min(owners, key=lambda each: each.deleting, default=None)

    @property
    def ordinals(self) -> tuple[Ordinal, ...]:
        """The claim's ordinals in sets that are not being deleted; two sets may have a claim of the same name."""
        found = (each.ordinal_of(self.claim.name) for each in self.stateful_sets if not each.deleting)
        return tuple(each for each in found if each)

    @property
    def waits_for_consumer(self) -> bool:
        """Whether the claim's class has WaitForFirstConsumer, so that the scheduler selects the node."""
        return self.storage_class is not None and self.storage_class.waits_for_consumer
