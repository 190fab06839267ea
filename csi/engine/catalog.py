"""Every volume of every pool, in memory, as its manifest says; the disk is read once, at the start."""

from dataclasses import dataclass, field
from pathlib import Path

import structlog

from csi.engine import manifest as manifests
from csi.engine.manifest import Damaged, Manifest
from csi.engine.node_record import NodeRecord, read_record
from csi.engine.pools import Pool
from csi.engine.volume_ids import Handle, parse_handle

log = structlog.get_logger()


@dataclass(slots=True)
class Entry:
    """A volume: its manifest now, and where this node shows it."""

    pool: Pool
    manifest: Manifest
    record: NodeRecord = field(default_factory=NodeRecord)

    @property
    def home(self) -> Path:
        """The volume's directory."""
        return self.pool.volumes / self.manifest.id


class Catalog:
    """Volumes by handle. Used on the event loop only."""

    def __init__(self, pools: tuple[Pool, ...]) -> None:
        self.pools = pools
        self.damaged: dict[Path, str] = {}
        self._entries: dict[str, Entry] = {}

    def load(self) -> None:
        """Read all manifests. One that cannot be read makes its volume damaged, and harms no other."""
        for pool in self.pools:
            for home in sorted(pool.volumes.iterdir()):
                try:
                    found = manifests.read(home)
                    if found.id != home.name or found.pool != pool.uuid:
                        raise Damaged(f"{home} holds the manifest of volume {found.handle}; move it back to its place")
                    self.put(Entry(pool, found, read_record(home)))
                except FileNotFoundError:
                    continue  # an intent that was never written down: nothing was promised
                except (Damaged, NotADirectoryError) as error:
                    self.damaged[home] = str(error)
                    log.error("volume.damaged", path=str(home), problem=str(error))

    def get(self, handle: str) -> Entry | None:
        """The volume of this handle; None for a handle that is malformed, too."""
        parsed = parse_handle(handle)
        return self._entries.get(str(parsed)) if parsed else None

    def of_id(self, volume_id: str) -> Entry | None:
        """The volume of this id in whichever pool has it."""
        candidates = (self._entries.get(str(Handle(pool.uuid, volume_id))) for pool in self.pools)
        return next((entry for entry in candidates if entry is not None), None)

    def put(self, entry: Entry) -> None:
        """Know the volume from now on."""
        self._entries[entry.manifest.handle] = entry

    def drop(self, handle: str) -> None:
        """Forget it."""
        self._entries.pop(handle, None)

    def all(self) -> list[Entry]:
        """All volumes, ready or not, in the order of their handles."""
        return [self._entries[handle] for handle in sorted(self._entries)]

    def of_pool(self, pool: Pool) -> list[Entry]:
        """The volumes of one pool."""
        return [entry for entry in self._entries.values() if entry.pool.uuid == pool.uuid]

    def problem_at(self, pool: Pool, volume_id: str) -> str:
        """Why nothing can be made at this place; "" when it is free."""
        return self.damaged.get(pool.volumes / volume_id, "")
