"""
The expected state after any sequence of calls: the volumes, where each is mounted, and its data.

Only responses change the model: a call with OK has the effect that CSI specifies, any other call has none. The driver
runs in its own mount namespace, so its mount table has only its own mounts.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csi.v1 import csi_pb2, inventory_pb2

CANARY = "canary"
SIZE = 512


@dataclass
class Volume:
    """A volume that exists. `targets` are the paths where it is published; `data` is its expected content."""

    handle: str
    volume_dir: Path
    backend: str
    access_type: str
    staged: str = ""
    read_only: bool = False
    targets: set[str] = field(default_factory=set)
    data: dict[str, bytes] = field(default_factory=dict)

    @property
    def in_use(self) -> bool:
        """Whether the volume is staged or published."""
        return bool(self.staged or self.targets)


def canonical(path: str) -> str:
    """Return the path as in the mount table: without symbolic links above its last name."""
    found = Path(os.path.normpath(f"/{path.lstrip('/')}"))
    try:
        return str(found.parent.resolve() / found.name)
    except (OSError, RuntimeError):  # a link to itself, or an invalid path
        return str(found)


class Model:
    """All volumes, and the checks against the disks and the mount table."""

    def __init__(self, pools: dict[str, Path], pid: int, base_dir: Path) -> None:
        """`pools` are directories by UUID; all paths that calls may use are below `base_dir`."""
        self.volumes: dict[str, Volume] = {}
        self.trash: list[Volume] = []
        """Deleted volumes, oldest first; several may have the same handle."""
        self.named: set[str] = set()
        """Canonical paths in stage and publish requests, whatever their responses."""
        self._pools = pools
        self._pid = pid
        self._base_dir = base_dir
        self._before = Counter(self._mounts())

    def _mounts(self) -> Iterator[str]:
        for line in Path(f"/proc/{self._pid}/mountinfo").read_text(encoding="utf-8").splitlines():
            yield line.split(" ")[4].encode().decode("unicode_escape").encode("latin-1").decode()

    def in_namespace(self, path: str) -> Path:
        """Return a path that leads to the driver's view of `path`, in its mount namespace."""
        return Path(f"/proc/{self._pid}/root{path}")

    def record_request(self, rpc: str, request: Any) -> None:
        """Record the path where a call may leave a mount point."""
        for name in {"NodeStageVolume": ("staging_target_path",), "NodePublishVolume": ("target_path",)}.get(rpc, ()):
            path = getattr(request, name)
            if path.startswith("/") and "\0" not in path:
                self.named.add(canonical(path))

    def apply(self, rpc: str, request: Any, answer: Any) -> None:
        """Apply the effect of a call with response OK to the model."""
        apply_call = getattr(self, f"_{rpc}", None)
        if apply_call is not None:
            apply_call(request, answer)

    def _CreateVolume(self, request: csi_pb2.CreateVolumeRequest, answer: csi_pb2.CreateVolumeResponse) -> None:  # noqa: N802 # as the RPC
        volume = answer.volume
        assert volume.capacity_bytes >= request.capacity_range.required_bytes
        limit = request.capacity_range.limit_bytes
        assert not limit or volume.capacity_bytes <= limit
        access_type = str(request.volume_capabilities[0].WhichOneof("access_type"))
        self._add(volume.volume_id, volume.volume_context["mooring.dev/backend"], access_type)

    def _Import(self, _: inventory_pb2.ImportRequest, answer: inventory_pb2.ImportResponse) -> None:  # noqa: N802 # as above
        manifest = answer.manifest
        self._add(manifest.volume_id, manifest.backend, manifest.access_type)

    def _add(self, handle: str, backend: str, access_type: str) -> None:
        if handle in self.volumes:
            return
        pool, _, volume_id = handle.partition(".")
        volume = Volume(handle, self._pools[pool] / "volumes" / volume_id, backend, access_type)
        self.volumes[handle] = volume
        canary = handle.encode().ljust(SIZE, b".")
        if backend == "directory":
            (volume.volume_dir / "data" / CANARY).write_bytes(canary)
            volume.data = self._data(volume)
        elif access_type == "block":
            with (volume.volume_dir / "image").open("rb+") as image:
                image.write(canary)
            volume.data = {CANARY: canary}

    def _DeleteVolume(self, request: csi_pb2.DeleteVolumeRequest, _: Any) -> None:  # noqa: N802 # as above
        volume = self.volumes.pop(request.volume_id, None)
        if volume is not None:
            assert not volume.in_use, f"{volume} was deleted while it was in use"
            self.trash.append(volume)

    def _Undelete(self, request: inventory_pb2.UndeleteRequest, _: Any) -> None:  # noqa: N802 # as above
        newest = [each for each in self.trash if each.handle == request.volume_id][-1]
        self.trash.remove(newest)
        self.volumes[request.volume_id] = newest

    def _Purge(self, request: inventory_pb2.PurgeRequest, _: Any) -> None:  # noqa: N802 # as above
        if not request.HasField("deleted_before"):  # else some may stay: `trash` is what may be in the trash
            self.trash = [each for each in self.trash if request.volume_id not in {"", each.handle}]

    def _NodeStageVolume(self, request: csi_pb2.NodeStageVolumeRequest, _: Any) -> None:  # noqa: N802 # as above
        volume = self.volumes[request.volume_id]
        volume.staged = canonical(request.staging_target_path)
        flags = [part for flag in request.volume_capability.mount.mount_flags for part in flag.split(",")]
        if volume.backend == "loop" and volume.access_type == "mount" and not volume.data and "ro" not in flags:
            canary = volume.handle.encode().ljust(SIZE, b".")
            self.in_namespace(f"{volume.staged}/{CANARY}").write_bytes(canary)
            volume.data = {CANARY: canary}

    def _NodeUnstageVolume(self, request: csi_pb2.NodeUnstageVolumeRequest, _: Any) -> None:  # noqa: N802 # as above
        volume = self.volumes.get(request.volume_id)
        if volume is not None and volume.staged == canonical(request.staging_target_path):
            assert not volume.targets, f"{volume} was unstaged while it was published"
            volume.staged = ""

    def _NodePublishVolume(self, request: csi_pb2.NodePublishVolumeRequest, _: Any) -> None:  # noqa: N802 # as above
        self.volumes[request.volume_id].targets.add(canonical(request.target_path))

    def _NodeUnpublishVolume(self, request: csi_pb2.NodeUnpublishVolumeRequest, _: Any) -> None:  # noqa: N802 # as above
        volume = self.volumes.get(request.volume_id)
        if volume is not None:
            volume.targets.discard(canonical(request.target_path))

    def check_mounts(self) -> None:
        """
        Assert that exactly the staged and published volumes are mounted, each once.

        A mount outside the base directory may be missing, when another process removed its mount point.
        """
        expected = Counter(self._before)
        for volume in self.volumes.values():
            expected.update(volume.targets)
            expected.update([volume.staged] if volume.staged and volume.access_type == "mount" else [])
        found = Counter(self._mounts())
        for target in set(expected - found):
            if not Path(target).is_relative_to(self._base_dir):
                del expected[target]
        assert found == expected, f"unexpected mounts: {found - expected}; missing mounts: {expected - found}"

    def check_bytes(self) -> None:
        """Assert that the pools have exactly the model's volumes, and that each volume has its expected content."""
        for pool in self._pools.values():
            volume_dirs = {
                volume.volume_dir for volume in self.volumes.values() if volume.volume_dir.parent.parent == pool
            }
            found_dirs = set((pool / "volumes").iterdir())
            assert volume_dirs == found_dirs, (
                f"unexpected: {found_dirs - volume_dirs}; missing: {volume_dirs - found_dirs}"
            )
        for volume in self.volumes.values():
            if volume.data and (volume.backend == "directory" or volume.staged or volume.access_type == "block"):
                assert volume.data == self._data(volume), volume

    def _data(self, volume: Volume) -> dict[str, bytes]:
        """Return every file of the volume with its content; of a raw volume, its first bytes."""
        if volume.access_type == "block":
            with (volume.volume_dir / "image").open("rb") as image:
                return {CANARY: image.read(SIZE)}
        top = volume.volume_dir / "data" if volume.backend == "directory" else self.in_namespace(volume.staged)
        return {
            str(path.relative_to(top)): path.read_bytes() if path.is_file() else b""
            for path in top.rglob("*")
            if path.name != "lost+found"
        }


def snapshot(top: Path) -> dict[str, tuple[int, str]]:
    """Return everything below a directory: type and mode, and a file's content or a link's target."""
    found = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        content = ""
        if stat.S_ISLNK(status.st_mode):
            content = str(path.readlink())
        elif stat.S_ISREG(status.st_mode):
            content = path.read_bytes().hex()
        found[str(path)] = (status.st_mode, content)
    return found


def changes(before: dict[str, tuple[int, str]], after: dict[str, tuple[int, str]], named: set[str]) -> list[str]:
    """Return the paths that differ, except empty mount points at paths that calls named."""
    differing = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    return [path for path in sorted(differing) if not _mount_point(path, before, after, named)]


def _mount_point(
    path: str, before: dict[str, tuple[int, str]], after: dict[str, tuple[int, str]], named: set[str]
) -> bool:
    """Report whether the path exists in one snapshot only, is empty there, and was named by a call."""
    if path in before and path in after:
        return False
    side = before if path in before else after
    mode, content = side[path]
    alone = not any(other.startswith(f"{path}/") for other in side)
    plain = stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and not content)
    return canonical(path) in named and alone and plain
