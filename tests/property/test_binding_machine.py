"""
Whatever happens in whatever order, no volume has two claims, no ordinal meets a stranger's data or an empty disk.

A small world is driven by the brain's own decisions alone, and one rule at a time: claims come and go, volume objects are
deleted by hand, controllers act on what they see now. Every ordinal writes its name into its volume.
"""

import dataclasses

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from provisioner.binding.control import ClaimRefChange, claim_step, volume_step
from provisioner.binding.decision import Action
from provisioner.binding.facts import Facts
from provisioner.binding.order import decide
from provisioner.model.claim import Claim
from provisioner.model.inventory import Manifest
from provisioner.model.names import (
    BIND_COMPLETED,
    HOLDER_CLAIM,
    HOLDER_CLAIM_UID,
    HOLDER_NAMESPACE,
    HOLDER_NAMESPACE_UID,
    SELECTED_NODE,
)
from provisioner.model.volume import ClaimRef, Volume
from tests.unit.binding.objects import NAMESPACE, POOL, claim, node, storage_class, volume, web

NAMES = ("www-web-0", "www-web-1", "www-web-2")
KEEP, SCRATCH = storage_class("keep"), storage_class("scratch", adopt="Never", policy="Delete")
CLASSES = {"keep": KEEP, "scratch": SCRATCH}


@dataclasses.dataclass
class Disk:
    """The bytes of one volume in its pool, and who held it last."""

    manifest: Manifest
    token: str = ""


class World(RuleBasedStateMachine):
    """Claims, volume objects and disks."""

    def __init__(self) -> None:
        super().__init__()
        self.claims: dict[str, Claim] = {}
        self.volumes: dict[str, Volume] = {}
        self.disks: dict[str, Disk] = {}
        self.promised: dict[str, str] = {}
        self.uids = 0
        self.clock = 0

    @rule(
        name=st.sampled_from(NAMES),
        cls=st.sampled_from(["keep", "keep", "scratch"]),
        size=st.sampled_from(["1Gi", "1Gi", "2Gi"]),
    )
    def create_claim(self, name: str, cls: str, size: str) -> None:
        """The StatefulSet makes a claim that is missing; its UID is new."""
        if name not in self.claims:
            self.uids += 1
            self.claims[name] = claim(name, uid=f"uid{self.uids}", cls=cls, size=size)

    @rule(name=st.sampled_from(NAMES))
    def delete_claim(self, name: str) -> None:
        """Somebody deletes it."""
        self.claims.pop(name, None)

    @rule(name=st.sampled_from(NAMES))
    def schedule(self, name: str) -> None:
        """The scheduler selects the node."""
        if name in self.claims:
            self._annotate(name, SELECTED_NODE, "n1")

    @precondition(lambda self: self.volumes)
    @rule(data=st.data())
    def delete_volume_object(self, data: st.DataObject) -> None:
        """An admin deletes a released PersistentVolume; the bytes stay in the pool."""
        name = data.draw(st.sampled_from(sorted(self.volumes)))
        if self.volumes[name].phase == "Released" and self.volumes[name].reclaim_policy == "Retain":
            del self.volumes[name]

    @precondition(lambda self: self.volumes)
    @rule(data=st.data())
    def sync_volume(self, data: st.DataObject) -> None:
        """The volume half of the binder."""
        name = data.draw(st.sampled_from(sorted(self.volumes)))
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
            wanted, volumes=self.volumes.values(), storage_class=CLASSES[wanted.class_name], default_class=None
        )
        if step.bind_to is not None:
            bound = step.bind_to
            self.volumes[bound.name] = dataclasses.replace(
                bound, phase="Bound", claim_ref=ClaimRef("default", name, wanted.uid)
            )
            self.claims[name] = dataclasses.replace(wanted, volume_name=bound.name, phase="Bound")
            self._annotate(name, BIND_COMPLETED, "yes")
        elif step.phase:
            self.claims[name] = dataclasses.replace(wanted, phase=step.phase)

    @rule(name=st.sampled_from(NAMES))
    def decide_claim(self, name: str) -> None:
        """Mooring's own controller: adopt, rebuild or provision."""
        if name not in self.claims:
            return
        wanted = self.claims[name]
        decision = decide(self._facts(wanted))
        if decision.action is Action.ADOPT:
            had = self.volumes[decision.volume]
            self.volumes[had.name] = dataclasses.replace(had, claim_ref=ClaimRef("default", name, wanted.uid))
            self._hold(had.name, wanted)
        elif decision.action is Action.REBUILD:
            self.volumes[decision.volume] = volume(
                decision.volume, ref=(name, wanted.uid), cls=wanted.class_name, phase="Pending"
            )
            self._hold(decision.volume, wanted)
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
                    phase="Pending",
                    provisioned_by="csi.mooring.dev",
                )
                self._hold(made, wanted)

    @rule(name=st.sampled_from(NAMES))
    def write(self, name: str) -> None:
        """The ordinal's pod writes its name into what it has mounted."""
        wanted = self.claims.get(name)
        if wanted is not None and wanted.bind_completed and wanted.volume_name in self.volumes:
            self.disks[wanted.volume_name].token = name
            if wanted.class_name == "keep":
                self.promised[name] = wanted.volume_name

    def _facts(self, wanted: Claim) -> Facts:
        return Facts(
            claim=wanted,
            volumes=tuple(self.volumes.values()),
            storage_class=CLASSES[wanted.class_name],
            namespace_uid=NAMESPACE,
            stateful_sets=(web(),),
            manifests=tuple(disk.manifest for disk in self.disks.values()),
            nodes=(node(),),
        )

    def _hold(self, name: str, wanted: Claim) -> None:
        self.clock += 1
        holder = {
            HOLDER_NAMESPACE: "default",
            HOLDER_NAMESPACE_UID: NAMESPACE,
            HOLDER_CLAIM: wanted.name,
            HOLDER_CLAIM_UID: wanted.uid,
        }
        before = self.disks.get(name)
        size = before.manifest.capacity_bytes if before else wanted.request.ceil_bytes
        made = Manifest(f"{POOL}.{name}", name, size, "directory", "mount", holder, f"{self.clock:09}")
        self.disks[name] = Disk(made, before.token if before else "")

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
            assert self.disks[each.volume_name].token in {"", each.name}
            if each.class_name == "keep" and each.name in self.promised:
                assert self.disks[self.promised[each.name]].token == each.name
                assert each.volume_name == self.promised[each.name], "an empty disk instead of its own"

    @invariant()
    def data_stays(self) -> None:
        """I3: a volume with data is deleted only by a policy that says so."""
        for had in self.promised.values():
            assert had in self.disks


World.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestWorld = World.TestCase
