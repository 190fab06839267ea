"""
Reconcile pending claims of Mooring's classes: adopt the former volume, provision a new one, or report why neither.

It runs in a cluster and in the engine. The binder binds claims to existing volumes: kube-controller-manager in a
cluster, `provisioner.embedded.controlplane` in the engine.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from csi.v1 import inventory_pb2
from provisioner.actions.adopt import Undeletes, adopt, confirm, expand_former, rebuild, revert_adoption
from provisioner.actions.expand_volume import Expands
from provisioner.actions.ownership_labels import holder_labels
from provisioner.actions.provision import Creates, provision
from provisioner.actions.refusals import FORMER_SECONDS, Refusals, former_refused
from provisioner.binding.adoption.siblings import has_new_volume
from provisioner.binding.decide import decide
from provisioner.binding.decision import Action, Decision
from provisioner.binding.facts import Facts
from provisioner.drivers.client import DriverUnavailable, RpcError
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter, TerminalError
from provisioner.kube.events import Recorder
from provisioner.kube.transport import Transport
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObjectError
from provisioner.model.kinds import (
    ATTRIBUTES_CLASS,
    CLAIM,
    NAMESPACE,
    NODE,
    POD,
    STATEFUL_SET,
    STORAGE_CLASS,
    VOLUME,
    Json,
    Kind,
    Object,
)
from provisioner.model.names import DRIVER
from provisioner.model.pod import Pod
from provisioner.model.stateful_set import StatefulSet
from provisioner.observe.claim_facts import Inventory, gather, readable, without_inventory
from provisioner.observe.cluster_uid import cluster_uid
from provisioner.observe.live_views import pods_in, stateful_sets_in
from provisioner.observe.triggers import claim_key, claim_of_volume, concerns_siblings, no_keys
from provisioner.observe.volume_index import volumes_in

CONFIRM_SECONDS = 0.2

ELSEWHERE = frozenset({"node-unknown", "sibling-elsewhere"})
"""Reasons to wait that end when the scheduler selects another node."""


class Driver(Creates, Undeletes, Expands, Inventory, Protocol):
    """The calls to the driver that this reconciler needs."""

    async def modify_volume(self, handle: str, parameters: Mapping[str, str]) -> None:
        """Set the volume's mutable parameters."""


class Claims:
    """The reconciler of pending claims of Mooring's classes."""

    name = "claims"
    workers = 4

    def __init__(
        self, transport: Transport, caches: Caches, recorder: Recorder, *, drivers: Driver, reschedules: bool = False
    ) -> None:
        """With `reschedules`, a node that cannot serve a claim is removed from it for the scheduler."""
        self._transport = transport
        self._caches = caches
        self._drivers = drivers
        self._refusals = Refusals(transport, recorder, reschedules=reschedules)
        self._seen: dict[Key, object] = {}
        """Claim → its fields for which its siblings were triggered last; for claims that exist."""

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the triggers: the claim itself, and every object that may unblock it."""
        return {
            CLAIM: self._of_claim,
            VOLUME: self._of_volume,
            POD: self._of_pod,
            STATEFUL_SET: self._of_set,
            STORAGE_CLASS: lambda _: self._pending(),
            ATTRIBUTES_CLASS: lambda _: self._pending(),
            NODE: lambda _: self._pending(),
            NAMESPACE: no_keys,
        }

    def _of_claim(self, claim: Json) -> Iterable[Key]:
        """Return the claim, and its siblings if a field changed on which their decisions depend."""
        key = claim_key(claim)
        if self._caches[CLAIM].get(key[1], key[0]) is None:
            self._seen.pop(key, None)
            return self._with_siblings(key)
        concerns = concerns_siblings(claim)
        if self._seen.get(key) == concerns:
            return [key]
        self._seen[key] = concerns
        return self._with_siblings(key)

    def _of_volume(self, volume: Json) -> Iterable[Key]:
        return {each for key in claim_of_volume(volume) for each in self._with_siblings(key)}

    def _of_pod(self, pod: Json) -> Iterable[Key]:
        namespace = pod["metadata"]["namespace"]
        claims = [name for each in readable([pod], Pod.of) for name in each.claims.values()]
        return [key for key in self._pending(namespace) if key[1] in claims]

    def _with_siblings(self, key: Key) -> set[Key]:
        """Return the claim and its siblings, which are decided together."""
        namespace, name = key
        sets = stateful_sets_in(self._caches).all(namespace)
        pods = (each.persistent_claims for each in pods_in(self._caches).all(namespace))
        beside = {one for each in sets for one in each.beside(name)}
        return {key, *((namespace, one) for one in beside.union(*(claims for claims in pods if name in claims)))}

    def _of_set(self, stateful_set: Json) -> Iterable[Key]:
        namespace = stateful_set["metadata"]["namespace"]
        owner = StatefulSet.of(stateful_set)
        return [key for key in self._pending(namespace) if owner.ordinal_of(key[1])]

    def _pending(self, namespace: str = "") -> list[Key]:
        return [claim_key(claim) for claim in self._caches[CLAIM].all(namespace) if not claim["spec"].get("volumeName")]

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """Reconcile one claim: decide, and act on the decision."""
        found = self._caches[CLAIM].get(key[1], key[0])
        if found is None:
            return Done()
        try:
            claim = Claim.of(found)
            if claim.volume_name or claim.bind_completed or claim.deleting:
                return Done()
            if has_new_volume(claim, volumes_in(self._caches)):
                self._refusals.forget(claim.uid)
                return Done()  # the binder binds it
            facts = await gather(claim, self._caches, self._drivers)
        except InvalidObjectError as error:
            raise TerminalError(str(error)) from error
        except DriverUnavailable as error:
            return await self._refusals.unanswered(found, without_inventory(claim, self._caches), error)
        if facts.storage_class is None or not facts.storage_class.is_managed:
            return Done()
        if not facts.namespace_uid:
            return RequeueAfter(CONFIRM_SECONDS, "the UID of its namespace is not known yet")
        decision = decide(facts)
        if pause := self._refusals.pause(facts, decision):
            return RequeueAfter(pause, "the same request was refused a moment ago")
        try:
            done = await self._act(found, facts, decision)
        except RpcError as error:
            return await self._refusals.failed(found, facts, decision, error)
        self._refusals.forget(claim.uid)
        return done

    async def _act(self, claim: Json, facts: Facts, decision: Decision) -> Done | RequeueAfter:
        match decision.action:
            case Action.EXPAND | Action.ADOPT | Action.REBUILD | Action.UNDELETE:
                return await self._adopt(claim, facts, decision)
            case Action.REVERT_ADOPTION:
                await revert_adoption(self._transport, claim=claim, volume_name=decision.volume)
            case Action.PROVISION:
                return await self._provision(claim, facts, decision)
            case Action.NOT_MANAGED:
                await self._report_populator(claim, decision)
            case Action.WAIT:
                await self._refusals.blocked(claim, facts, decision)
                if any(reason.code in ELSEWHERE for reason in decision.reasons):
                    await self._refusals.unplaceable(claim, why=decision.message)
                if any(reason.code.startswith(("former", "sibling", "after-sibling")) for reason in decision.reasons):
                    return RequeueAfter(
                        FORMER_SECONDS, "a disk may return, or the trash may be purged, without an event"
                    )
        return Done()

    async def _adopt(self, claim: Json, facts: Facts, decision: Decision) -> Done | RequeueAfter:
        labels = self._labels(claim, facts)
        assert facts.storage_class is not None  # noqa: S101 - checked by the caller
        needs_set = facts.storage_class.adopts == "Ordinal" and facts.stateful_set is not None
        fresh = await confirm(self._transport, claim=claim, labels=labels, needs_set=needs_set)
        if fresh is None:
            return RequeueAfter(CONFIRM_SECONDS, "the caches are older than the API server")
        try:
            if decision.action is Action.EXPAND:
                await expand_former(self._transport, self._drivers, claim=fresh, volume_name=decision.volume)
                return Done()  # the changed volume triggers the claim, which then adopts it
            if decision.action is not Action.UNDELETE:
                await self._modify_former(facts, decision)
        except RpcError as error:
            raise former_refused(fresh, decision, error) from error
        if decision.action is Action.ADOPT:
            await adopt(self._transport, claim=fresh, volume_name=decision.volume, labels=labels)
        else:
            manifest = await self._manifest(decision)
            if manifest is None:
                return RequeueAfter(CONFIRM_SECONDS, "the manifest is gone")
            if decision.action is Action.UNDELETE:  # one in the trash cannot be modified
                await self._modify_former(facts, decision)
            storage_class = self._class(facts)
            await rebuild(self._transport, manifest=manifest, claim=fresh, storage_class=storage_class, labels=labels)
            if manifest.capacity_bytes < facts.claim.request.ceil_bytes:
                return Done()  # the new PersistentVolume triggers the claim, and is expanded first
        message = f"the claim adopts its former volume {decision.volume}"
        await self._refusals.report(claim, reason="VolumeAdopted", message=message)
        return Done()

    async def _modify_former(self, facts: Facts, decision: Decision) -> None:
        """Modify the former volume to the requested VolumeAttributesClass before it is adopted. Raises RpcError."""
        if decision.modifies and facts.attributes_class is not None:
            await self._drivers.modify_volume(decision.handle, facts.attributes_class.parameters)

    async def _manifest(self, decision: Decision) -> "inventory_pb2.Manifest | None":
        if decision.action is Action.UNDELETE:
            return await self._drivers.undelete(decision.handle)
        volumes = await self._drivers.list_manifests()
        return next((each for each in volumes if each.volume_id == decision.handle), None)

    async def _provision(self, claim: Json, facts: Facts, decision: Decision) -> Done | RequeueAfter:
        if facts.claim.storage_provisioner != DRIVER:
            return Done()  # the binder requests a volume once no existing one fits
        assert facts.storage_class is not None  # noqa: S101 - checked by the caller
        name = await provision(
            self._transport,
            self._drivers,
            claim=claim,
            storage_class=self._class(facts),
            labels=self._labels(claim, facts),
            mutable=facts.attributes_class.parameters if facts.attributes_class else {},
            node=decision.node,
            candidates=decision.candidates,
            adopts=_may_have_former(facts),
        )
        message = f"successfully provisioned volume {name}"
        await self._refusals.report(claim, reason="ProvisioningSucceeded", message=message)
        for reason in decision.reasons:
            if reason.code == "fresh-namespace":
                await self._refusals.report(claim, reason="NamespaceRecreated", message=reason.message)
        return Done()

    async def _report_populator(self, claim: Json, decision: Decision) -> None:
        """Record an Event for a claim whose volume an external populator creates, as external-provisioner does."""
        if any(reason.code == "source-populator" for reason in decision.reasons):
            await self._refusals.report(claim, reason="Provisioning", message=decision.message)

    def _class(self, facts: Facts) -> Object:
        found = self._caches[STORAGE_CLASS].get(facts.claim.class_name)
        assert found is not None  # noqa: S101 - the facts were built from it
        return found

    def _labels(self, claim: Json, facts: Facts) -> dict[str, str]:
        return holder_labels(
            claim,
            namespace_uid=facts.namespace_uid,
            cluster_uid=cluster_uid(self._caches),
            sets=self._caches[STATEFUL_SET].all(facts.claim.namespace),
            before={},
            policy=facts.storage_class.reclaim_policy if facts.storage_class else "Retain",
            attributes_class=facts.claim.attributes_class,
        )


def _may_have_former(facts: Facts) -> bool:
    """Report whether the fence has to check for a former volume; a claim of no ordinal has none with adopt: Ordinal."""
    adopts = facts.storage_class.adopts if facts.storage_class else "Never"
    return not facts.claim.forgets and (adopts == "Claim" or (adopts == "Ordinal" and bool(facts.ordinals)))
