"""
For any order of events, no volume has two claims, and no ordinal reads another claim's data or loses its own.

A small model is driven by the functions of the decision layer, one rule at a time: claims, the StatefulSet and the
namespace are created and deleted, admins create and delete volume objects and trash volumes, a creation is interrupted,
controllers act on the current state. Every ordinal writes its name, and its namespace's UID, into its volume.
"""

import dataclasses

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from provisioner.binding.adoption.adopt import adopt
from provisioner.binding.decide import decide
from provisioner.binding.decision import Action
from provisioner.binding.facts import Facts
from provisioner.binding.matching.index import Index
from provisioner.binding.matching.pv_controller import ClaimRefChange, claim_step, volume_step
from provisioner.model.claim import Claim
from provisioner.model.inventory import Manifest
from provisioner.model.names import (
    BIND_COMPLETED,
    HOLDER_CLAIM,
    HOLDER_CLAIM_UID,
    HOLDER_NAMESPACE,
    HOLDER_NAMESPACE_UID,
    HOLDER_ORDINAL,
    HOLDER_STATEFUL_SET,
    ORDINAL,
    SELECTED_NODE,
    STATEFUL_SET,
)
from provisioner.model.volume import ClaimRef, Volume
from tests.property.binding_disk import Disk
from tests.sweeps import times
from tests.unit.provisioner.binding.objects import POOL, claim, node, storage_class, volume, web

NAMES = ("www-web-0", "www-web-1")
ADOPTING, SCRATCH = storage_class("keep", expands=True), storage_class("scratch", adopt="Never", policy="Delete")
IMMEDIATE = storage_class("at-once", waits=False)
CLASSES = {"keep": ADOPTING, "scratch": SCRATCH, "at-once": IMMEDIATE}
MODES = [("ReadWriteOnce",), ("ReadWriteOnce",), ("ReadWriteOnce", "ReadOnlyMany")]


class BindingMachine(RuleBasedStateMachine):
    """Claims, volume objects and disks."""

    def __init__(self) -> None:
        super().__init__()
        self.claims: dict[str, Claim] = {}
        self.volumes: dict[str, Volume] = {}
        self.disks: dict[str, Disk] = {}
        self.written: dict[tuple[str, str], str] = {}
        """(claim's name, class) → the volume that its ordinal wrote to, in this namespace."""
        self.set_exists = True
        self.namespaces = 1
        self.uids = 0
        self.clock = 0

    @property
    def namespace(self) -> str:
        """The UID of the current namespace."""
        return f"ns{self.namespaces}"

    @rule(
        name=st.sampled_from(NAMES),
        cls=st.sampled_from(["keep", "keep", "at-once", "scratch"]),
        size=st.sampled_from(["1Gi", "1Gi", "2Gi"]),
        modes=st.sampled_from(MODES),
    )
    def create_claim(self, name: str, cls: str, size: str, modes: tuple[str, ...]) -> None:
        """Create a missing claim with a new UID, as the StatefulSet controller or a user does."""
        if name not in self.claims:
            self.uids += 1
            self.claims[name] = claim(name, uid=f"uid{self.uids}", cls=cls, size=size, modes=modes)

    @rule(writes=st.booleans())
    def settle(self, writes: bool) -> None:
        """Reconcile everything until nothing changes; then the pods may write."""
        for _ in range(4):
            for name in sorted(self.claims):
                self.schedule(name)
                self.decide_claim(name, interrupted=False)
                self.sync_claim(name)
            for name in sorted(self.volumes):
                self._sync_volume(name)
        for name in sorted(self.claims) if writes else ():
            self.write(name)

    @initialize(cls=st.sampled_from(["keep", "at-once"]), settled=st.booleans())
    def apply(self, cls: str, settled: bool) -> None:
        """Apply the StatefulSet; its pods may start at once."""
        for name in NAMES:
            self.create_claim(name, cls, "1Gi", MODES[0])
        if settled:
            self.settle(writes=True)

    @precondition(lambda self: self.claims)
    @rule(
        names=st.sampled_from([NAMES, NAMES[:1], NAMES[1:]]),
        size=st.sampled_from(["", "", "2Gi"]),
        modes=st.sampled_from([(), (), *MODES]),
        between=st.sampled_from(["nothing", "binder", "object lost", "trashed"]),
        settled=st.booleans(),
    )
    def delete_and_apply_again(
        self, names: tuple[str, ...], size: str, modes: tuple[str, ...], between: str, settled: bool
    ) -> None:
        """Delete StatefulSet and claims, and create them again, equal or with small changes: the main use case."""
        deleted = {name: self.claims.pop(name) for name in names if name in self.claims}
        if between != "nothing":
            self.settle(writes=False)
        if between in {"object lost", "trashed"}:
            for name in self._released():
                del self.volumes[name]
        if between == "trashed":
            for name in self._without_object():
                self._trash(name, in_trash=True)
        for name, before in deleted.items():
            self.create_claim(name, before.class_name, size or str(before.request), modes or before.modes)
        self.set_exists = True
        if settled:
            self.settle(writes=True)

    @precondition(lambda self: self.set_exists)
    @rule()
    def delete_set(self) -> None:
        """Delete the StatefulSet; its claims stay."""
        self.set_exists = False

    @precondition(lambda self: not self.set_exists)
    @rule()
    def create_set(self) -> None:
        """Create the StatefulSet again."""
        self.set_exists = True

    @precondition(lambda self: self.written)
    @rule(settled=st.booleans())
    def recreate_namespace(self, settled: bool) -> None:
        """Delete the namespace and its claims; another tenant creates one of the same name, with the same claims."""
        self.namespaces += 1
        deleted, self.claims = self.claims, {}
        self.written.clear()
        for name, before in deleted.items():
            self.create_claim(name, before.class_name, str(before.request), before.modes)
        if settled:
            self.settle(writes=False)

    @precondition(lambda self: sum(name.startswith("hand") for name in self.volumes) < 2)
    @rule(cls=st.sampled_from(["keep", "at-once"]))
    def create_volume_by_hand(self, cls: str) -> None:
        """Create an empty PersistentVolume of another driver, as an admin does."""
        self.uids += 1
        name = f"hand{self.uids}"
        self.volumes[name] = volume(name, cls=cls, size="4Gi", driver="other", phase="Pending", namespace_uid="")
        self.disks[name] = Disk(None)

    @rule(name=st.sampled_from(NAMES))
    def delete_claim(self, name: str) -> None:
        """Delete the claim, as a user does."""
        self.claims.pop(name, None)

    @rule(name=st.sampled_from(NAMES))
    def schedule(self, name: str) -> None:
        """Select the node, as the scheduler does."""
        if name in self.claims:
            self._annotate(name, SELECTED_NODE, "n1")

    @precondition(lambda self: self._released())
    @rule(data=st.data())
    def delete_volume_object(self, data: st.DataObject) -> None:
        """Delete a released PersistentVolume, as an admin does; the data stays in the pool."""
        del self.volumes[data.draw(st.sampled_from(self._released()))]

    @precondition(lambda self: self._without_object())
    @rule(data=st.data())
    def trash_volume(self, data: st.DataObject) -> None:
        """Move a volume without a PersistentVolume to the trash, as an admin does."""
        self._trash(data.draw(st.sampled_from(self._without_object())), in_trash=True)

    @precondition(lambda self: self.volumes)
    @rule(data=st.data())
    def sync_volume(self, data: st.DataObject) -> None:
        """Run the volume part of the binder."""
        self._sync_volume(data.draw(st.sampled_from(sorted(self.volumes))))

    def _sync_volume(self, name: str) -> None:
        before = self.volumes[name]
        live = self.claims.get(before.claim_ref.name) if before.claim_ref else None
        step = volume_step(before, claim=live)
        ref = before.claim_ref
        if step.claim_ref is ClaimRefChange.CLEAR:
            ref = None
        elif step.claim_ref is ClaimRefChange.KEEP_NAME and ref is not None:
            ref = ClaimRef(ref.namespace, ref.name)
        self.volumes[name] = dataclasses.replace(before, phase=step.phase or before.phase, claim_ref=ref)
        if step.reclaim and before.reclaim_policy == "Delete":
            assert (
                live is None or before.claim_ref is None or live.uid != before.claim_ref.uid or live.volume_name != name
            ), "I3"
            del self.volumes[name]
            del self.disks[name]

    @rule(name=st.sampled_from(NAMES))
    def sync_claim(self, name: str) -> None:
        """Run the claim part of the binder, and the scheduler's choice of a volume."""
        if name not in self.claims:
            return
        pvc = self.claims[name]
        step = claim_step(
            pvc, volumes=Index(self.volumes.values()), storage_class=CLASSES[pvc.class_name], default_class=None
        )
        free = step.bind_to is None or not step.bind_to.belongs_to(pvc)
        if free and step.rule in {"U1", "U3", "U4"} and adopt(self._facts(pvc)) is not None:
            return  # like the embedded binder: a former volume has priority
        bound = step.bind_to
        if step.provisioner and pvc.selected_node:
            bound = Index(self.volumes.values()).match(pvc, node=node())  # the scheduler's part
        if bound is not None:
            self.volumes[bound.name] = dataclasses.replace(
                bound, phase="Bound", claim_ref=ClaimRef("default", name, pvc.uid)
            )
            self.claims[name] = dataclasses.replace(pvc, volume_name=bound.name, phase="Bound")
            self._annotate(name, BIND_COMPLETED, "yes")
        elif step.phase:
            self.claims[name] = dataclasses.replace(pvc, phase=step.phase)

    @rule(name=st.sampled_from(NAMES), interrupted=st.sampled_from([False, False, True]))
    def decide_claim(self, name: str, interrupted: bool) -> None:
        """Run Mooring's controller: adopt, rebuild or provision."""
        if name not in self.claims:
            return
        pvc = self.claims[name]
        decision = decide(self._facts(pvc))
        if decision.action is Action.ADOPT:
            before = self.volumes[decision.volume]
            self.volumes[before.name] = dataclasses.replace(before, claim_ref=ClaimRef("default", name, pvc.uid))
            self._record_holder(before.name, pvc)
        elif decision.action is Action.UNDELETE and interrupted:
            self._trash(decision.volume, in_trash=False)
        elif decision.action is Action.EXPAND:
            before = self.volumes[decision.volume]
            self.volumes[before.name] = dataclasses.replace(before, capacity=pvc.request)
            self._expand(before.name, pvc)
        elif decision.action in {Action.REBUILD, Action.UNDELETE}:
            manifest = self.disks[decision.volume].manifest
            assert manifest is not None
            small = manifest.capacity_bytes < pvc.request.ceil_bytes
            self.volumes[decision.volume] = volume(
                decision.volume,
                ref=(name, manifest.holder[HOLDER_CLAIM_UID] if small else pvc.uid),
                cls=pvc.class_name,
                size=str(manifest.capacity_bytes),
                modes=pvc.modes,
                phase="Pending",
                namespace_uid=self.namespace,
                ordinal=self._ordinal(name),
            )
            self._trash(decision.volume, in_trash=False)
            if not small:
                self._record_holder(decision.volume, pvc)
        elif decision.action is Action.PROVISION and interrupted:
            self._record_holder(f"pvc-{pvc.uid}", pvc, ready=False)
        elif decision.action is Action.PROVISION:
            created = f"pvc-{pvc.uid}"
            if created not in self.volumes:
                cls = CLASSES[pvc.class_name]
                self.volumes[created] = volume(
                    created,
                    ref=(name, pvc.uid),
                    cls=cls.name,
                    policy=cls.reclaim_policy,
                    size=str(pvc.request),
                    modes=pvc.modes,
                    phase="Pending",
                    provisioned_by="csi.mooring.dev",
                    namespace_uid=self.namespace,
                    ordinal=self._ordinal(name),
                )
                self._record_holder(created, pvc)

    @rule(name=st.sampled_from(NAMES))
    def write(self, name: str) -> None:
        """
        Write the claim's name into its bound volume, as a pod does.

        While the StatefulSet exists it is the ordinal's pod: volume and data are recorded as that ordinal's.
        """
        pvc = self.claims.get(name)
        if pvc is not None and pvc.bind_completed and pvc.volume_name in self.volumes:
            disk = self.disks[pvc.volume_name]
            disk.token = (name, self.namespace)
            if pvc.class_name != "scratch" and disk.manifest is not None and self.set_exists:
                self.written[(name, pvc.class_name)] = pvc.volume_name
                self._note_ordinal(pvc)

    def _facts(self, pvc: Claim) -> Facts:
        return Facts(
            claim=pvc,
            volumes=Index(self.volumes.values()),
            storage_class=CLASSES[pvc.class_name],
            namespace_uid=self.namespace,
            stateful_sets=(web(),) if self.set_exists else (),
            manifests=tuple(disk.manifest for disk in self.disks.values() if disk.manifest is not None),
            nodes=(node(),),
        )

    def _released(self) -> list[str]:
        return sorted(
            each.name for each in self.volumes.values() if (each.phase, each.reclaim_policy) == ("Released", "Retain")
        )

    def _without_object(self) -> list[str]:
        """Return the volumes in the pool, not in the trash, without a PersistentVolume."""
        return sorted(
            name
            for name, disk in self.disks.items()
            if name not in self.volumes and disk.manifest and not disk.manifest.in_trash
        )

    def _ordinal(self, name: str) -> str:
        """Return the pod's name that the controller records on the volume; "" without the StatefulSet."""
        return name.removeprefix("www-") if self.set_exists else ""

    def _note_ordinal(self, pvc: Claim) -> None:
        """Record the ordinal, as the ownership controller does for a bound volume: first annotations, then manifest."""
        before = self.volumes[pvc.volume_name]
        stateful_set, _, number = self._ordinal(pvc.name).rpartition("-")
        noted = {**before.annotations, STATEFUL_SET: stateful_set, ORDINAL: number}
        self.volumes[before.name] = dataclasses.replace(before, annotations=noted)
        self._record_holder(before.name, pvc)

    def _trash(self, name: str, *, in_trash: bool) -> None:
        disk = self.disks[name]
        if disk.manifest is not None:
            disk.manifest = dataclasses.replace(disk.manifest, in_trash=in_trash)

    def _expand(self, name: str, pvc: Claim) -> None:
        disk = self.disks[name]
        if disk.manifest is not None:
            disk.manifest = dataclasses.replace(disk.manifest, capacity_bytes=pvc.request.ceil_bytes)

    def _record_holder(self, name: str, pvc: Claim, *, ready: bool = True) -> None:
        self.clock += 1
        holder = {
            HOLDER_NAMESPACE: "default",
            HOLDER_NAMESPACE_UID: self.namespace,
            HOLDER_CLAIM: pvc.name,
            HOLDER_CLAIM_UID: pvc.uid,
        }
        if stem := self._ordinal(pvc.name):
            holder[HOLDER_STATEFUL_SET], _, holder[HOLDER_ORDINAL] = stem.rpartition("-")
        before = self.disks.get(name)
        size = before.manifest.capacity_bytes if before and before.manifest else pvc.request.ceil_bytes
        created = Manifest(
            f"{POOL}.{name}", name, size, "directory", "mount", holder, f"{self.clock:09}", in_trash=False, ready=ready
        )
        self.disks[name] = Disk(created, before.token if before else ("", ""))

    def _annotate(self, name: str, key: str, value: str) -> None:
        before = self.claims[name]
        self.claims[name] = dataclasses.replace(before, annotations={**before.annotations, key: value})

    @invariant()
    def no_volume_has_two_claims(self) -> None:
        """I1: bound claims have different volumes, and the claimRef of each volume is its claim."""
        bound = {
            each.name: each.volume_name
            for each in self.claims.values()
            if each.bind_completed and each.phase == "Bound"
        }
        assert len(set(bound.values())) == len(bound)
        for name, volume_name in bound.items():
            ref = self.volumes[volume_name].claim_ref if volume_name in self.volumes else None
            assert ref is None or (ref.name, ref.uid) == (name, self.claims[name].uid)

    @invariant()
    def an_ordinal_never_reads_foreign_data_or_loses_its_own(self) -> None:
        """I2: the data in a bound volume was written by a claim of this name; data that was written is found again."""
        for each in self.claims.values():
            if not each.bind_completed or each.volume_name not in self.disks:
                continue
            assert self.disks[each.volume_name].token in {("", ""), (each.name, self.namespace)}
            written = self.written.get((each.name, each.class_name))
            if written is not None:
                assert self.disks[written].token == (each.name, self.namespace)
                assert each.volume_name == written, "an empty volume instead of its own"

    @invariant()
    def volumes_with_data_are_never_deleted(self) -> None:
        """I3: a volume with data is deleted only with reclaim policy Delete."""
        for name in self.written.values():
            assert name in self.disks


BindingMachine.TestCase.settings = settings(max_examples=times(200), stateful_step_count=25, deadline=None)
TestBindingMachine = BindingMachine.TestCase
