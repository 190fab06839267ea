"""Requests that are valid in the model's state: changes of volumes, and queries."""

import random
from pathlib import Path
from typing import Final

from google.protobuf.message import Message

from csi.v1 import csi_pb2, inventory_pb2
from tests.property.rpc_model import Model, Volume
from tests.unit.csi.services.driver import capability, raw

C: Final = csi_pb2
MIB: Final = 1 << 20
MAX_VOLUMES: Final = 8
IMPORTS: Final = ("files", "disk.img", "odd.img")
"""The items to import in the first pool."""


class ValidRequests:
    """A builder of requests from a model, with one random generator. Without `loop` all volumes are directories."""

    def __init__(self, model: Model, rng: random.Random, base_dir: Path, *, loop: bool) -> None:
        self._model = model
        self._rng = rng
        self._base_dir = base_dir
        self._loop = loop

    def build(self, name: str) -> Message | None:
        """Return a request of the RPC `name` that is valid in the model's state; None when there is none."""
        build = getattr(self, f"_{name}", None)
        found: Message | None = build() if build is not None else None
        return found

    def _some(self, *, staged: bool | None = None, published: bool | None = None) -> Volume | None:
        fitting = [
            each
            for each in self._model.volumes.values()
            if (staged is None or bool(each.staged) == staged)
            and (published is None or bool(each.targets) == published)
        ]
        return self._rng.choice(fitting) if fitting else None

    def _CreateVolume(self) -> Message:  # noqa: N802 # as the RPC
        number = self._rng.randrange(MAX_VOLUMES)
        kind = number % 4 if self._loop else 0
        request = C.CreateVolumeRequest(
            name=f"v{number}",
            capacity_range=C.CapacityRange(required_bytes=16 * MIB),
            volume_capabilities=[capability()],
        )
        if kind:
            request.parameters["backend"] = "loop"
        if kind == 1:
            request.parameters["csi.storage.k8s.io/fstype"] = "ext4"
        if kind == 2:
            request.volume_capabilities[0].CopyFrom(raw())
        return request

    def _DeleteVolume(self) -> Message | None:  # noqa: N802 # as above
        volume = self._some(staged=False, published=False)
        return C.DeleteVolumeRequest(volume_id=volume.handle) if volume else None

    def _NodeStageVolume(self) -> Message | None:  # noqa: N802 # as above
        volume = self._some()
        if volume is None:
            return None
        staging = volume.staged or str(self._base_dir / "staging" / volume.volume_dir.name)
        Path(staging).mkdir(exist_ok=True, parents=True) if staging.startswith(f"{self._base_dir}/staging") else None
        return C.NodeStageVolumeRequest(
            volume_id=volume.handle, staging_target_path=staging, volume_capability=self._use(volume)
        )

    def _NodeUnstageVolume(self) -> Message | None:  # noqa: N802 # as above
        volume = self._some(staged=True, published=False)
        return (
            C.NodeUnstageVolumeRequest(volume_id=volume.handle, staging_target_path=volume.staged) if volume else None
        )

    def _NodePublishVolume(self) -> Message | None:  # noqa: N802 # as above
        volume = self._some(staged=True)
        if volume is None:
            return None
        target = self._base_dir / "targets" / f"{volume.volume_dir.name}-{self._rng.randrange(2)}"
        target.parent.mkdir(exist_ok=True)
        return C.NodePublishVolumeRequest(
            volume_id=volume.handle,
            staging_target_path=volume.staged,
            target_path=str(target),
            volume_capability=self._use(volume),
            readonly=target.name.endswith("1"),
        )

    def _NodeUnpublishVolume(self) -> Message | None:  # noqa: N802 # as above
        volume = self._some(published=True)
        if volume is None:
            return None
        return C.NodeUnpublishVolumeRequest(
            volume_id=volume.handle, target_path=self._rng.choice(sorted(volume.targets))
        )

    def _NodeGetVolumeStats(self) -> Message | None:  # noqa: N802 # as above
        volume = self._some(published=True)
        return C.NodeGetVolumeStatsRequest(volume_id=volume.handle, volume_path=min(volume.targets)) if volume else None

    def _NodeExpandVolume(self) -> Message | None:  # noqa: N802 # as above
        volume = self._some(published=True)
        return C.NodeExpandVolumeRequest(volume_id=volume.handle, volume_path=min(volume.targets)) if volume else None

    def _ControllerExpandVolume(self) -> Message | None:  # noqa: N802 # as above
        volume = self._some()
        size = C.CapacityRange(required_bytes=self._rng.choice((16, 17, 24)) * MIB)
        return C.ControllerExpandVolumeRequest(volume_id=volume.handle, capacity_range=size) if volume else None

    def _ControllerModifyVolume(self) -> Message | None:  # noqa: N802 # as above
        volume = self._some()
        return (
            C.ControllerModifyVolumeRequest(volume_id=volume.handle, mutable_parameters={"trashRetention": "48h"})
            if volume
            else None
        )

    def _ControllerGetVolume(self) -> Message | None:  # noqa: N802 # as above
        volume = self._some()
        return C.ControllerGetVolumeRequest(volume_id=volume.handle) if volume else None

    def _ControllerGetVolumeHealth(self) -> Message | None:  # noqa: N802 # as above
        volume = self._some()
        return C.ControllerGetVolumeHealthRequest(volume_id=volume.handle) if volume else None

    def _NodeGetVolumeHealth(self) -> Message | None:  # noqa: N802 # as above
        volume = self._some()
        return C.NodeGetVolumeHealthRequest(volume_id=volume.handle) if volume else None

    def _ValidateVolumeCapabilities(self) -> Message | None:  # noqa: N802 # as above
        volume = self._some()
        return (
            C.ValidateVolumeCapabilitiesRequest(volume_id=volume.handle, volume_capabilities=[self._use(volume)])
            if volume
            else None
        )

    def _ListVolumes(self) -> Message:  # noqa: N802 # as above
        return C.ListVolumesRequest()

    def _ListManifests(self) -> Message:  # noqa: N802 # as above
        return inventory_pb2.ListManifestsRequest()

    def _ListTrash(self) -> Message:  # noqa: N802 # as above
        return inventory_pb2.ListTrashRequest()

    def _GetCapacity(self) -> Message:  # noqa: N802 # as above
        return C.GetCapacityRequest(volume_capabilities=[capability()])

    def _GetUse(self) -> Message | None:  # noqa: N802 # as above
        volume = self._some()
        return inventory_pb2.GetUseRequest(volume_id=volume.handle) if volume else None

    def _RecordHolder(self) -> Message | None:  # noqa: N802 # as above
        volume = self._some()
        holder = inventory_pb2.Holder(labels={"mooring.dev/claim": f"c{self._rng.randrange(3)}"})
        return inventory_pb2.RecordHolderRequest(volume_id=volume.handle, holder=holder) if volume else None

    def _Undelete(self) -> Message | None:  # noqa: N802 # as above
        handle = self._rng.choice(self._model.trash).handle if self._model.trash else ""
        return inventory_pb2.UndeleteRequest(volume_id=handle) if handle else None

    def _Purge(self) -> Message | None:  # noqa: N802 # as above
        handle = self._rng.choice(self._model.trash).handle if self._model.trash else ""
        return inventory_pb2.PurgeRequest(volume_id=handle) if handle else None

    def _Import(self) -> Message:  # noqa: N802 # as above
        item = self._rng.choice(IMPORTS)
        return inventory_pb2.ImportRequest(name=f"import-{item}", item=item, required_bytes=16 * MIB)

    def _use(self, volume: Volume) -> csi_pb2.VolumeCapability:
        return raw() if volume.access_type == "block" else capability()
