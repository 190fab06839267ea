"""
Whatever happens in whatever order, no volume has two claims, no ordinal meets a stranger's data or an empty disk.

A small world is driven by the brain's own decisions alone, and one rule at a time: claims, the set and the namespace come
and go, admins make and delete volume objects and throw volumes into the trash, a making is interrupted, controllers act on
what they see now. Every ordinal writes its name, and its namespace's UID, into its volume.
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
from tests.sweeps import times
from tests.unit.provisioner.binding.objects import POOL, claim, node, storage_class, volume, web

NAMES = ("www-web-0", "www-web-1")
KEEP, SCRATCH = storage_class("keep", expands=True), storage_class("scratch", adopt="Never", policy="Delete")
AT_ONCE = storage_class("at-once", waits=False)
CLASSES = {"keep": KEEP, "scratch": SCRATCH, "at-once": AT_ONCE}
MODES = [("ReadWriteOnce",), ("ReadWriteOnce",), ("ReadWriteOnce", "ReadOnlyMany")]


@dataclasses.dataclass
class Disk:
    """The bytes of one volume in its pool, and who held it last."""

    manifest: Manifest | None
    """None for a volume that is not ours."""
    token: tuple[str, str] = ("", "")
    """Who wrote into it: claim's name and namespace's UID."""


class World(RuleBasedStateMachine):
    """Claims, volume objects and disks."""

    def __init__(self) -> None:
        super().__init__()
        self.claims: dict[str, Claim] = {}
        self.volumes: dict[str, Volume] = {}
        self.disks: dict[str, Disk] = {}
        self.promised: dict[tuple[str, str], str] = {}
        """(claim's name, class) → the volume its ordinal wrote into, in this namespace."""
        self.set_is_there = True
        self.namespaces = 1
        self.uids = 0
        self.clock = 0

    @property
    def namespace(self) -> str:
        """The UID of the namespace as it is now."""
        return f"ns{self.namespaces}"

    @rule(
        name=st.sampled_from(NAMES),
        cls=st.sampled_from(["keep", "keep", "at-once", "scratch"]),
        size=st.sampled_from(["1Gi", "1Gi", "2Gi"]),
        modes=st.sampled_from(MODES),
    )
    def create_claim(self, name: str, cls: str, size: str, modes: tuple[str, ...]) -> None:
        """The StatefulSet, or a hand, makes a claim that is missing; its UID is new."""
        if name not in self.claims:
            self.uids += 1
            self.claims[name] = claim(name, uid=f"uid{self.uids}", cls=cls, size=size, modes=modes)

    @rule(writes=st.booleans())
    def settle(self, writes: bool) -> None:
        """All controllers get their turn until nothing changes, and the pods write."""
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
        """The set is applied, and mostly comes up at once."""
        for name in NAMES:
            self.create_claim(name, cls, "1Gi", MODES[0])
        if settled:
            self.settle(writes=True)

    @precondition(lambda self: self.claims)
    @rule(
        names=st.sampled_from([NAMES, NAMES[:1], NAMES[1:]]),
        size=st.sampled_from(["", "", "2Gi"]),
        modes=st.sampled_from([(), (), *MODES]),
        between=st.sampled_from(["nothing", "binder", "object lost", "thrown away"]),
        settled=st.booleans(),
    )
    def delete_and_apply_again(
        self, names: tuple[str, ...], size: str, modes: tuple[str, ...], between: str, settled: bool
    ) -> None:
        """The main job: set and claims go, and come back as they were or nearly so, sooner or later."""
        gone = {name: self.claims.pop(name) for name in names if name in self.claims}
        if between != "nothing":
            self.settle(writes=False)
        if between in {"object lost", "thrown away"}:
            for name in self._released():
                del self.volumes[name]
        if between == "thrown away":
            for name in self._loose():
                self._trash(name, in_trash=True)
        for name, had in gone.items():
            self.create_claim(name, had.class_name, size or str(had.request), modes or had.modes)
        self.set_is_there = True
        if settled:
            self.settle(writes=True)

    @precondition(lambda self: self.set_is_there)
    @rule()
    def delete_set(self) -> None:
        """The StatefulSet is deleted, its claims stay."""
        self.set_is_there = False

    @precondition(lambda self: not self.set_is_there)
    @rule()
    def create_set(self) -> None:
        """It is made again."""
        self.set_is_there = True

    @precondition(lambda self: self.promised)
    @rule(settled=st.booleans())
    def renew_namespace(self, settled: bool) -> None:
        """The namespace goes with its claims; another tenant makes one of the same name, and applies the same."""
        self.namespaces += 1
        gone, self.claims = self.claims, {}
        self.promised.clear()
        for name, had in gone.items():
            self.create_claim(name, had.class_name, str(had.request), had.modes)
        if settled:
            self.settle(writes=False)

    @precondition(lambda self: sum(name.startswith("hand") for name in self.volumes) < 2)
    @rule(cls=st.sampled_from(["keep", "at-once"]))
    def make_volume_by_hand(self, cls: str) -> None:
        """An admin adds an empty volume of another driver."""
        self.uids += 1
        name = f"hand{self.uids}"
        self.volumes[name] = volume(name, cls=cls, size="4Gi", driver="other", phase="Pending", namespace_uid="")
        self.disks[name] = Disk(None)

    @rule(name=st.sampled_from(NAMES))
    def delete_claim(self, name: str) -> None:
        """Somebody deletes it."""
        self.claims.pop(name, None)

    @rule(name=st.sampled_from(NAMES))
    def schedule(self, name: str) -> None:
        """The scheduler selects the node."""
        if name in self.claims:
            self._annotate(name, SELECTED_NODE, "n1")

    @precondition(lambda self: self._released())
    @rule(data=st.data())
    def delete_volume_object(self, data: st.DataObject) -> None:
        """An admin deletes a released PersistentVolume; the bytes stay in the pool."""
        del self.volumes[data.draw(st.sampled_from(self._released()))]

    @precondition(lambda self: self._loose())
    @rule(data=st.data())
    def throw_away(self, data: st.DataObject) -> None:
        """An admin has the driver delete a volume that has no object any more: it goes to the trash."""
        self._trash(data.draw(st.sampled_from(self._loose())), in_trash=True)

    @precondition(lambda self: self.volumes)
    @rule(data=st.data())
    def sync_volume(self, data: st.DataObject) -> None:
        """The volume half of the binder."""
        self._sync_volume(data.draw(st.sampled_from(sorted(self.volumes))))

    def _sync_volume(self, name: str) -> None:
        had = self.volumes[name]
        live = self.claims.get(had.claim_ref.name) if had.claim_ref else None
        step = volume_step(had, claim=live)
        ref = had.claim_ref
        if step.claim_ref is ClaimRefChange.CLEAR:
            ref = None
        elif step.claim_ref is ClaimRefChange.KEEP_NAME and ref is not None:
            ref = ClaimRef(ref.namespace, ref.name)
        self.volumes[name] = dataclasses.replace(had, phase=step.phase or had.phase, claim_ref=ref)
        if step.reclaim and had.reclaim_policy == "Delete":
            assert live is None or had.claim_ref is None or live.uid != had.claim_ref.uid or live.volume_name != name, (
                "I3"
            )
            del self.volumes[name]
            del self.disks[name]

    @rule(name=st.sampled_from(NAMES))
    def sync_claim(self, name: str) -> None:
        """The claim half of the binder, and the provisioner when it is asked."""
        if name not in self.claims:
            return
        wanted = self.claims[name]
        step = claim_step(
            wanted, volumes=Index(self.volumes.values()), storage_class=CLASSES[wanted.class_name], default_class=None
        )
        free = step.bind_to is None or not step.bind_to.belongs_to(wanted)
        if free and step.rule in {"U1", "U3", "U4"} and adopt(self._facts(wanted)) is not None:
            return  # as the embedded binder does: a former volume goes before all others
        bound = step.bind_to
        if step.provisioner and wanted.selected_node:
            bound = Index(self.volumes.values()).match(wanted, node=node())  # the scheduler's part
        if bound is not None:
            self.volumes[bound.name] = dataclasses.replace(
                bound, phase="Bound", claim_ref=ClaimRef("default", name, wanted.uid)
            )
            self.claims[name] = dataclasses.replace(wanted, volume_name=bound.name, phase="Bound")
            self._annotate(name, BIND_COMPLETED, "yes")
        elif step.phase:
            self.claims[name] = dataclasses.replace(wanted, phase=step.phase)

    @rule(name=st.sampled_from(NAMES), interrupted=st.sampled_from([False, False, True]))
    def decide_claim(self, name: str, interrupted: bool) -> None:
        """Mooring's own controller: adopt, rebuild or provision."""
        if name not in self.claims:
            return
        wanted = self.claims[name]
        decision = decide(self._facts(wanted))
        if decision.action is Action.ADOPT:
            had = self.volumes[decision.volume]
            self.volumes[had.name] = dataclasses.replace(had, claim_ref=ClaimRef("default", name, wanted.uid))
            self._hold(had.name, wanted)
        elif decision.action is Action.UNDELETE and interrupted:
            self._trash(decision.volume, in_trash=False)
        elif decision.action is Action.EXPAND:
            had = self.volumes[decision.volume]
            self.volumes[had.name] = dataclasses.replace(had, capacity=wanted.request)
            self._grow(had.name, wanted)
        elif decision.action in {Action.REBUILD, Action.UNDELETE}:
            manifest = self.disks[decision.volume].manifest
            assert manifest is not None
            small = manifest.capacity_bytes < wanted.request.ceil_bytes
            self.volumes[decision.volume] = volume(
                decision.volume,
                ref=(name, manifest.holder[HOLDER_CLAIM_UID] if small else wanted.uid),
                cls=wanted.class_name,
                size=str(manifest.capacity_bytes),
                modes=wanted.modes,
                phase="Pending",
                namespace_uid=self.namespace,
                ordinal=self._ordinal(name),
            )
            self._trash(decision.volume, in_trash=False)
            if not small:
                self._hold(decision.volume, wanted)
        elif decision.action is Action.PROVISION and interrupted:
            self._hold(f"pvc-{wanted.uid}", wanted, ready=False)
        elif decision.action is Action.PROVISION:
            made = f"pvc-{wanted.uid}"
            if made not in self.volumes:
                cls = CLASSES[wanted.class_name]
                self.volumes[made] = volume(
                    made,
                    ref=(name, wanted.uid),
                    cls=cls.name,
                    policy=cls.reclaim_policy,
                    size=str(wanted.request),
                    modes=wanted.modes,
                    phase="Pending",
                    provisioned_by="csi.mooring.dev",
                    namespace_uid=self.namespace,
                    ordinal=self._ordinal(name),
                )
                self._hold(made, wanted)

    @rule(name=st.sampled_from(NAMES))
    def write(self, name: str) -> None:
        """
        A pod writes the claim's name into what it has mounted.

        While the set is there it is the ordinal's pod: the volume is noted as that ordinal's, and its data promised.
        """
        wanted = self.claims.get(name)
        if wanted is not None and wanted.bind_completed and wanted.volume_name in self.volumes:
            disk = self.disks[wanted.volume_name]
            disk.token = (name, self.namespace)
            if wanted.class_name != "scratch" and disk.manifest is not None and self.set_is_there:
                self.promised[(name, wanted.class_name)] = wanted.volume_name
                self._note_ordinal(wanted)

    def _facts(self, wanted: Claim) -> Facts:
        return Facts(
            claim=wanted,
            volumes=Index(self.volumes.values()),
            storage_class=CLASSES[wanted.class_name],
            namespace_uid=self.namespace,
            stateful_sets=(web(),) if self.set_is_there else (),
            manifests=tuple(disk.manifest for disk in self.disks.values() if disk.manifest is not None),
            nodes=(node(),),
        )

    def _released(self) -> list[str]:
        return sorted(
            each.name for each in self.volumes.values() if (each.phase, each.reclaim_policy) == ("Released", "Retain")
        )

    def _loose(self) -> list[str]:
        """Volumes in the pool, not in the trash, without an object."""
        return sorted(
            name
            for name, disk in self.disks.items()
            if name not in self.volumes and disk.manifest and not disk.manifest.in_trash
        )

    def _ordinal(self, name: str) -> str:
        """What the controller notes on the volume; only a set that is there can tell."""
        return name.removeprefix("www-") if self.set_is_there else ""

    def _note_ordinal(self, wanted: Claim) -> None:
        """What the holders' controller does for a bound volume: annotations first, then the manifest."""
        had = self.volumes[wanted.volume_name]
        stateful_set, _, number = self._ordinal(wanted.name).rpartition("-")
        noted = {**had.annotations, STATEFUL_SET: stateful_set, ORDINAL: number}
        self.volumes[had.name] = dataclasses.replace(had, annotations=noted)
        self._hold(had.name, wanted)

    def _trash(self, name: str, *, in_trash: bool) -> None:
        disk = self.disks[name]
        if disk.manifest is not None:
            disk.manifest = dataclasses.replace(disk.manifest, in_trash=in_trash)

    def _grow(self, name: str, wanted: Claim) -> None:
        disk = self.disks[name]
        if disk.manifest is not None:
            disk.manifest = dataclasses.replace(disk.manifest, capacity_bytes=wanted.request.ceil_bytes)

    def _hold(self, name: str, wanted: Claim, *, ready: bool = True) -> None:
        self.clock += 1
        holder = {
            HOLDER_NAMESPACE: "default",
            HOLDER_NAMESPACE_UID: self.namespace,
            HOLDER_CLAIM: wanted.name,
            HOLDER_CLAIM_UID: wanted.uid,
        }
        if stem := self._ordinal(wanted.name):
            holder[HOLDER_STATEFUL_SET], _, holder[HOLDER_ORDINAL] = stem.rpartition("-")
        before = self.disks.get(name)
        size = before.manifest.capacity_bytes if before and before.manifest else wanted.request.ceil_bytes
        made = Manifest(
            f"{POOL}.{name}", name, size, "directory", "mount", holder, f"{self.clock:09}", in_trash=False, ready=ready
        )
        self.disks[name] = Disk(made, before.token if before else ("", ""))

    def _annotate(self, name: str, key: str, value: str) -> None:
        had = self.claims[name]
        self.claims[name] = dataclasses.replace(had, annotations={**had.annotations, key: value})

    @invariant()
    def no_volume_has_two_claims(self) -> None:
        """I1: the claims that are bound name different volumes, and each is named back."""
        bound = {
            each.name: each.volume_name
            for each in self.claims.values()
            if each.bind_completed and each.phase == "Bound"
        }
        assert len(set(bound.values())) == len(bound)
        for name, had in bound.items():
            ref = self.volumes[had].claim_ref if had in self.volumes else None
            assert ref is None or (ref.name, ref.uid) == (name, self.claims[name].uid)

    @invariant()
    def an_ordinal_reads_its_own_data_or_none(self) -> None:
        """I2: what is in a bound volume was written by a claim of this name; what was promised is there."""
        for each in self.claims.values():
            if not each.bind_completed or each.volume_name not in self.disks:
                continue
            assert self.disks[each.volume_name].token in {("", ""), (each.name, self.namespace)}
            promised = self.promised.get((each.name, each.class_name))
            if promised is not None:
                assert self.disks[promised].token == (each.name, self.namespace)
                assert each.volume_name == promised, "an empty disk instead of its own"

    @invariant()
    def data_stays(self) -> None:
        """I3: a volume with data is deleted only by a policy that says so."""
        for had in self.promised.values():
            assert had in self.disks


World.TestCase.settings = settings(max_examples=times(200), stateful_step_count=25, deadline=None)
TestWorld = World.TestCase
