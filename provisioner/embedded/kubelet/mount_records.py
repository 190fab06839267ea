"""
Records of mounted volumes: one file per pod.

A record is written before a pod's volumes are mounted and removed after they are unmounted, so that mounts are known
after a kill of the engine or a forced deletion of the pod.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog

from provisioner.embedded.credentials import write_private

log = structlog.get_logger()


class MountRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One volume of one pod, with all that is needed to unmount it without the API server."""

    volume: str
    volume_object: str
    handle: str


class PodRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One pod whose volumes are or may be mounted."""

    namespace: str
    pod: str
    uid: str
    mounts: tuple[MountRecord, ...]


class Records:
    """The records of one state directory, in memory and on disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._by_uid: dict[str, PodRecord] = {}
        for path in sorted(directory.glob("*.json")):
            try:
                # unbounded: a file of the engine's own state
                record = msgspec.json.decode(path.read_bytes(), type=PodRecord)
            except msgspec.DecodeError as error:
                log.error("record.unreadable", path=str(path), error=str(error))
                continue
            self._by_uid[record.uid] = record

    def __iter__(self) -> Iterator[PodRecord]:
        return iter(list(self._by_uid.values()))

    def of_pod(self, namespace: str, pod: str) -> list[PodRecord]:
        """Return all records of a pod's name, including those of former pods."""
        return [each for each in self if (each.namespace, each.pod) == (namespace, pod)]

    def of_volume(self, volume_object: str) -> list[PodRecord]:
        """Return the records of the pods that use a PersistentVolume."""
        return [each for each in self if any(mount.volume_object == volume_object for mount in each.mounts)]

    def put(self, record: PodRecord) -> None:
        """Write a record, durably."""
        if self._by_uid.get(record.uid) != record:
            write_private(self._path(record.uid), msgspec.json.encode(record))
            self._by_uid[record.uid] = record

    def forget(self, uid: str) -> None:
        """Remove the record of a pod whose volumes are unmounted."""
        self._by_uid.pop(uid, None)
        with contextlib.suppress(FileNotFoundError):
            self._path(uid).unlink()

    def _path(self, uid: str) -> Path:
        return self._directory / f"{uid}.json"
