"""A harness for commands that use the drivers, with an API server and a driver in memory."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from csi.v1 import inventory_pb2
from provisioner.cli.main import run
from provisioner.logs import configure
from provisioner.model.kinds import CLAIM, NAMESPACE, STORAGE_CLASS, VOLUME, Json
from tests.unit.provisioner.cli.conftest import Result
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import POOL, claim, namespace, storage_class, volume

GOLDEN = Path(__file__).parent / "golden"
CLUSTER: Json = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "cluster"}}
MIB = 1 << 20


@dataclass
class Disks:
    """An API server and a driver; `mooring` runs a command against them."""

    capsys: pytest.CaptureFixture[str]
    api: FakeApi = field(
        default_factory=lambda: FakeApi(
            (NAMESPACE, namespace()), (NAMESPACE, CLUSTER), (STORAGE_CLASS, storage_class())
        )
    )
    driver: FakeDriver = field(default_factory=FakeDriver)

    def mooring(self, *arguments: str) -> Result:
        """Run the command with these arguments."""
        code = run(list(arguments))
        printed = self.capsys.readouterr()
        return Result(code, printed.out, printed.err)

    def store(self, name: str, *, claim_name: str = "www-web-0", uid: str = "old", cluster: str = "cluster") -> str:
        """Add a volume to the disk, without a PersistentVolume, and return its handle."""
        handle = f"{POOL}.{name}"
        self.driver.live[handle] = inventory_pb2.Manifest(
            volume_id=handle,
            csi_name=name,
            pool_uuid=POOL,
            capacity_bytes=80 * MIB,
            access_type="mount",
            state="ready",
            stored_bytes=5 * MIB // 2,
        )
        self.driver.live[handle].holder.labels.update(
            {
                "mooring.dev/cluster-uid": cluster,
                "mooring.dev/namespace": "default",
                "mooring.dev/namespace-uid": namespace()["metadata"]["uid"],
                "mooring.dev/claim": claim_name,
                "mooring.dev/claim-uid": uid,
                "mooring.dev/storage-class": "mooring-directory",
                "mooring.dev/access-modes": "ReadWriteOnce",
            }
        )
        return handle

    def bind(self) -> None:
        """Bind the claim default/www-web-0 to a volume, pvc-c1, that is on the disk."""
        self.store("pvc-c1", uid="c1")
        self.api.put(VOLUME, {**volume(), "status": {"phase": "Bound"}})
        self.api.put(CLAIM, claim(phase="Bound", volumeName="pvc-c1"))


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Disks:
    """Return a disk with a bound volume, one without a PersistentVolume, and one of another cluster."""
    harness = Disks(capsys)

    @contextlib.asynccontextmanager
    async def reach(state: Path | None) -> AsyncIterator[tuple[FakeApi, FakeDriver]]:
        configure("text")
        assert state is None or state.name == "s"
        yield harness.api, harness.driver

    monkeypatch.setattr("provisioner.cli.reach.reach", reach)
    harness.bind()
    harness.store("pvc-left")
    harness.store("pvc-far", claim_name="www-web-1", cluster="far-away")
    return harness


def golden(name: str) -> str:
    """Return the expected output of a command."""
    return (GOLDEN / name).read_text(encoding="utf-8")
