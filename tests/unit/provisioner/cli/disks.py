"""Commands that reach the drivers, against an API server and a driver in memory."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from csi.v1 import inventory_pb2
from provisioner.cli.main import run
from provisioner.logs import configure
from provisioner.model.kinds import CLAIM, NAMESPACE, STORAGE_CLASS, VOLUME, Json
from tests.unit.provisioner.cli.conftest import Ran
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

    def mooring(self, *arguments: str) -> Ran:
        """As a person would type it."""
        code = run(list(arguments))
        said = self.capsys.readouterr()
        return Ran(code, said.out, said.err)

    def store(self, name: str, *, claim_name: str = "www-web-0", uid: str = "old", cluster: str = "cluster") -> str:
        """Put the bytes of a volume on the disk; its handle."""
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
        """Give the claim default/www-web-0 a volume, pvc-c1, with its bytes."""
        self.store("pvc-c1", uid="c1")
        self.api.put(VOLUME, {**volume(), "status": {"phase": "Bound"}})
        self.api.put(CLAIM, claim(phase="Bound", volumeName="pvc-c1"))


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Disks:
    """One bound volume, one without a PersistentVolume, and one of another cluster."""
    made = Disks(capsys)

    @contextlib.asynccontextmanager
    async def reach(state: Path | None) -> AsyncIterator[tuple[FakeApi, FakeDriver]]:
        configure("text")
        assert state is None or state.name == "s"
        yield made.api, made.driver

    monkeypatch.setattr("provisioner.cli.reach.reach", reach)
    made.bind()
    made.store("pvc-left")
    made.store("pvc-far", claim_name="www-web-1", cluster="far-away")
    return made


def golden(name: str) -> str:
    """Return what a command is to print."""
    return (GOLDEN / name).read_text(encoding="utf-8")
