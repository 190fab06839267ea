"""
What must be true after any sequence of calls: which volumes there are, where each is mounted, and what is in it.

The model changes by answers alone: a call that was answered with OK has done what CSI says, any other has done nothing.
The driver runs in a mount namespace of its own, so its mount table holds nothing but what it mounted.
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
    """A volume that exists. `targets` are where it is published; `kept` is what its data must hold."""

    handle: str
    home: Path
    backend: str
    access_type: str
    staged: str = ""
    read_only: bool = False
    targets: set[str] = field(default_factory=set)
    kept: dict[str, bytes] = field(default_factory=dict)

    @property
    def in_use(self) -> bool:
        """Whether it is staged or published."""
        return bool(self.staged or self.targets)


def canonical(path: str) -> str:
    """The path as the mount table has it: without links above its last name."""
    found = Path(os.path.normpath(f"/{path.lstrip('/')}"))
    try:
        return str(found.parent.resolve() / found.name)
    except (OSError, RuntimeError):  # a link to itself, or a path that no call can have
        return str(found)


class Model:
    """All volumes, and the checks against the disks and the mount table."""

    def __init__(self, pools: dict[str, Path], pid: int, home: Path) -> None:
        """`pools` are their directories by UUID; all that calls may name is below `home`."""
        self.volumes: dict[str, Volume] = {}
        self.trash: list[Volume] = []
        """Deleted volumes, oldest first; several may have had one handle."""
        self.named: set[str] = set()
        """Canonical paths that a staging or publishing named, whatever its answer."""
        self._pools = pools
        self._pid = pid
        self._home = home
        self._before = Counter(self._mounts())

    def _mounts(self) -> Iterator[str]:
        for line in Path(f"/proc/{self._pid}/mountinfo").read_text(encoding="utf-8").splitlines():
            yield line.split(" ")[4].encode().decode("unicode_escape").encode("latin-1").decode()

    def through(self, path: str) -> Path:
        """The path as the driver sees it."""
        return Path(f"/proc/{self._pid}/root{path}")

    def asked(self, rpc: str, request: Any) -> None:
        """Note where a call may leave a mount point."""
        for name in {"NodeStageVolume": ("staging_target_path",), "NodePublishVolume": ("target_path",)}.get(rpc, ()):
            path = getattr(request, name)
            if path.startswith("/") and "\0" not in path:
                self.named.add(canonical(path))

    def answered(self, rpc: str, request: Any, answer: Any) -> None:
        """Do in the model what a call did that was answered with OK."""
        act = getattr(self, f"_{rpc}", None)
        if act is not None:
            act(request, answer)

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
            (volume.home / "data" / CANARY).write_bytes(canary)
            volume.kept = self._data(volume)
        elif access_type == "block":
            with (volume.home / "image").open("rb+") as image:
                image.write(canary)
            volume.kept = {CANARY: canary}

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
        if not request.HasField("deleted_before"):  # else some may stay: what is here is what may be in the trash
            self.trash = [each for each in self.trash if request.volume_id not in {"", each.handle}]

    def _NodeStageVolume(self, request: csi_pb2.NodeStageVolumeRequest, _: Any) -> None:  # noqa: N802 # as above
        volume = self.volumes[request.volume_id]
        volume.staged = canonical(request.staging_target_path)
        flags = [part for flag in request.volume_capability.mount.mount_flags for part in flag.split(",")]
        if volume.backend == "loop" and volume.access_type == "mount" and not volume.kept and "ro" not in flags:
            canary = volume.handle.encode().ljust(SIZE, b".")
            self.through(f"{volume.staged}/{CANARY}").write_bytes(canary)
            volume.kept = {CANARY: canary}

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
        Assert that exactly what is staged or published is mounted, each once.

        Elsewhere nothing may have come; what went there went with its mount point, as other processes removed that.
        """
        expected = Counter(self._before)
        for volume in self.volumes.values():
            expected.update(volume.targets)
            expected.update([volume.staged] if volume.staged and volume.access_type == "mount" else [])
        found = Counter(self._mounts())
        for target in set(expected - found):
            if not Path(target).is_relative_to(self._home):
                del expected[target]
        assert found == expected, f"mounted beside the model: {found - expected}; not mounted: {expected - found}"

    def check_bytes(self) -> None:
        """Assert that the pools hold the volumes of the model and no other, and that each has its own bytes."""
        for pool in self._pools.values():
            homes = {volume.home for volume in self.volumes.values() if volume.home.parent.parent == pool}
            there = set((pool / "volumes").iterdir())
            assert homes == there, f"on the disk beside the model: {there - homes}; not on it: {homes - there}"
        for volume in self.volumes.values():
            if volume.kept and (volume.backend == "directory" or volume.staged or volume.access_type == "block"):
                assert volume.kept == self._data(volume), volume

    def _data(self, volume: Volume) -> dict[str, bytes]:
        """Every file of the volume with its content; of a raw volume, what it begins with."""
        if volume.access_type == "block":
            with (volume.home / "image").open("rb") as image:
                return {CANARY: image.read(SIZE)}
        top = volume.home / "data" if volume.backend == "directory" else self.through(volume.staged)
        return {
            str(path.relative_to(top)): path.read_bytes() if path.is_file() else b""
            for path in top.rglob("*")
            if path.name != "lost+found"
        }


def snapshot(top: Path) -> dict[str, tuple[int, str]]:
    """Everything below a directory: type and mode, and a file's content or where a link leads."""
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
    """What differs, but for empty mount points that came or went at paths that calls named."""
    differing = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    return [path for path in sorted(differing) if not _mount_point(path, before, after, named)]


def _mount_point(
    path: str, before: dict[str, tuple[int, str]], after: dict[str, tuple[int, str]], named: set[str]
) -> bool:
    """Whether it is there on one side only, is empty there, and was named."""
    if path in before and path in after:
        return False
    side = before if path in before else after
    mode, content = side[path]
    alone = not any(other.startswith(f"{path}/") for other in side)
    plain = stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and not content)
    return canonical(path) in named and alone and plain
