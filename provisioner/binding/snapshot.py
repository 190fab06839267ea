"""The observed objects of one namespace, and the facts of each claim and its siblings."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from provisioner.binding.facts import Facts
from provisioner.binding.matching.index import Index
from provisioner.model.attributes_class import AttributesClass
from provisioner.model.claim import Claim
from provisioner.model.inventory import Manifest
from provisioner.model.node import Node
from provisioner.model.pod import Pod
from provisioner.model.stateful_set import StatefulSet
from provisioner.model.storage_class import StorageClass

FormerManifests = Mapping[str, tuple[Manifest, ...]]
"""Claim name → the manifests whose last owner was a claim of this name."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The objects around the claims of a namespace; the three callables return one by name, or None."""

    volumes: Index
    nodes: tuple[Node, ...]
    namespace_uid: str
    cluster_uid: str
    stateful_sets: tuple[StatefulSet, ...]
    pods: tuple[Pod, ...]
    claim: Callable[[str], Claim | None]
    storage_class: Callable[[str], StorageClass | None]
    attributes_class: Callable[[str], AttributesClass | None]

    def adopts(self, claim: Claim) -> bool:
        """Report whether the claim's class adopts former volumes, in a namespace whose UID is known."""
        found = self.storage_class(claim.class_name)
        return bool(self.namespace_uid) and found is not None and found.adopts != "Never"

    def siblings(self, claim: Claim) -> Sequence[Claim]:
        """Return the other claims of the pods that mount the claim, and of the pod of its StatefulSet."""
        names = {name for pod in self._mounting(claim) if not pod.deleting for name in pod.persistent_claims}
        for each in self.stateful_sets:
            names.update(() if each.deleting else each.beside(claim.name))
        found = map(self.claim, sorted(names - {claim.name}))
        return [each for each in found if each is not None]

    def facts(self, claim: Claim, *, manifests: FormerManifests, siblings: Sequence[Claim] | None = None) -> Facts:
        """
        Return the facts of the claim and of its siblings.

        `siblings` is the result of the method of that name, where it is known already.
        """
        mounting = self._by_claim()
        own = self._alone(claim, manifests, mounting)
        beside = self.siblings(claim) if siblings is None else siblings
        siblings_facts = tuple(self._alone(each, manifests, mounting) for each in beside)
        existing = {claim.name, *(each.claim.name for each in siblings_facts)}
        of_the_pod = own.stateful_set.beside(claim.name) if own.stateful_set else ()
        missing = tuple(name for name in of_the_pod if name not in existing)
        return dataclasses.replace(own, siblings=siblings_facts, missing=missing)

    def _alone(self, claim: Claim, manifests: FormerManifests, mounting: Mapping[str, Sequence[Pod]]) -> Facts:
        return Facts(
            claim=claim,
            volumes=self.volumes,
            storage_class=self.storage_class(claim.class_name),
            attributes_class=self.attributes_class(claim.attributes_class),
            namespace_uid=self.namespace_uid,
            stateful_sets=self.stateful_sets,
            manifests=manifests.get(claim.name, ()),
            nodes=self.nodes,
            pods=tuple(mounting.get(claim.name, ())),
            cluster_uid=self.cluster_uid,
        )

    def _by_claim(self) -> Mapping[str, Sequence[Pod]]:
        """Return claim name → the pods that mount it, for all claims at once: a pod may have a hundred."""
        found: dict[str, list[Pod]] = {}
        for each in self.pods:
            for name in dict.fromkeys(each.claims.values()):
                found.setdefault(name, []).append(each)
        return found

    def _mounting(self, claim: Claim) -> Sequence[Pod]:
        return [each for each in self.pods if claim.name in each.persistent_claims]
