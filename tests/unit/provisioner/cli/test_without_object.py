"""`history`, `explain` and `recover` report volumes without a PersistentVolume."""

import json
from pathlib import Path

import pytest

from provisioner.cli import disk_side
from provisioner.cli.disk_side import Stored
from tests.unit.provisioner.cli.conftest import Mooring
from tests.unit.provisioner.cli.disks import Disks, disks
from tests.unit.provisioner.controllers.objects import HANDLE

__all__ = ["disks"]


@pytest.fixture
def stored(disks: Disks, monkeypatch: pytest.MonkeyPatch) -> list[Stored]:
    """Return two volumes of the claim default/www-web-0, one in a pool and one in the trash, as the driver's answer."""
    active = disks.driver.live[f"{HANDLE.partition('.')[0]}.pvc-left"]
    active.pool_name = "small"
    active.holder.labels.update({"mooring.dev/stateful-set": "web", "mooring.dev/ordinal": "0"})
    active.holder.since.FromJsonString("2026-01-02T03:04:05.678Z")
    deleted = type(active)()
    deleted.CopyFrom(active)
    deleted.csi_name, deleted.volume_id = "pvc-deleted", f"{HANDLE}-deleted"
    found = [Stored(active, in_trash=False), Stored(deleted, in_trash=True)]
    monkeypatch.setattr(disk_side, "_list_stored", lambda _: found)
    return found


@pytest.mark.usefixtures("stored")
def test_history_lists_orphans_and_deleted_volumes_and_where_they_are(mooring: Mooring) -> None:
    """The name is that of the pod or of the claim; the data output has a state."""
    for name in ("web-0", "www-web-0"):
        result = mooring("history", name)
        assert result.code == 0
        assert [line.split()[:3] for line in result.out.splitlines()[1:]] == [
            ["www-web-0", "pvc-deleted", "2026-01-02T03:04:05Z"],
            ["www-web-0", "pvc-left", "2026-01-02T03:04:05Z"],
        ]
        assert "volume pvc-left is in pool small without a PersistentVolume; `mooring recover --volume" in result.err
        assert "volume pvc-deleted is in the trash; `mooring trash restore pvc-deleted`" in result.err
    states = {each["volume"]: each["state"] for each in json.loads(mooring("history", "web-0", "-o", "json").out)}
    assert states == {"pvc-left": "orphan", "pvc-deleted": "trash"}
    assert mooring("history", "web-1").code == 1


@pytest.mark.usefixtures("stored")
def test_explain_volume_describes_volumes_without_a_persistent_volume(mooring: Mooring) -> None:
    """The volume is named by its name or its handle; one that no disk has is not found."""
    result = mooring("explain", "volume", "pvc-left")
    assert result.code == 1
    assert result.out.startswith("volume pvc-left: Orphan\n  it is in pool small without a PersistentVolume;")
    assert "80Mi are reserved for it; it was last bound to claim default/www-web-0" in result.out
    assert mooring("explain", "volume", f"{HANDLE}-deleted").out.splitlines()[0].endswith(": Deleted")
    nothing = mooring("explain", "volume", "nothing")
    assert (nothing.code, "not found" in nothing.err) == (1, True)


@pytest.mark.usefixtures("stored")
def test_explain_claim_names_its_former_volumes(mooring: Mooring) -> None:
    """The claim may exist, and wait for another reason, or not."""
    missing = mooring("explain", "claim", "www-web-0")
    assert missing.code == 1
    assert "not found; volume pvc-left is in pool small without" in missing.err
    assert "pvc-" not in mooring("explain", "claim", "other").err


def test_explain_claim_uses_the_manifests_of_the_driver(
    mooring: Mooring, stored: list[Stored], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A claim whose class does not exist is explained by that, and by its volumes on the disks."""
    file = tmp_path_factory.mktemp("m") / "claim.yaml"
    file.write_text(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: www-web-0}\nspec: {accessModes: [ReadWriteOnce], "
        "storageClassName: none-such, resources: {requests: {storage: 1Mi}}}\n",
        encoding="utf-8",
    )
    assert mooring("apply", "-f", str(file)).code == 0
    result = mooring("explain", "claim", "www-web-0")

    assert result.code == 1
    assert "StorageClass none-such does not exist" in result.out
    assert all(f"volume {each.manifest.csi_name} is in" in result.out for each in stored)


@pytest.mark.limit("disks-from-outside")
def test_if_the_drivers_are_unreachable_the_error_names_where_to_run_the_command(mooring: Mooring, state: Path) -> None:
    """Of a cluster, only the controller's pod reaches the drivers; elsewhere the volumes are unknown, not missing."""
    for arguments in (("history", "web-0"), ("explain", "volume", "pvc-left"), ("explain", "claim", "www-web-0")):
        engine = mooring(*arguments)
        assert (engine.code, "the driver of this engine does not answer" in engine.err) == (1, True)
        cluster = mooring(*arguments, "--kubeconfig", str(state / "kubeconfig"))
        assert cluster.code == 1
        assert "exec deployment/mooring-controller -- mooring volumes" in cluster.err


def test_recover_lists_orphans_and_how_to_restore_or_erase_them(disks: Disks) -> None:
    """Without options nothing is changed; if nothing can be restored, the message points to the trash."""
    del disks.driver.live[f"{HANDLE.partition('.')[0]}.pvc-far"]
    result = disks.mooring("recover", "-o", "json")
    assert [(each["volume"], each["reason"]) for each in json.loads(result.out)] == [("pvc-left", "recover-several")]
    disks.driver.live[f"{HANDLE.partition('.')[0]}.pvc-left"].holder.labels["mooring.dev/claim"] = "other"
    result = disks.mooring("recover")
    assert result.code == 0
    assert "pvc-left" in result.out
    assert "mooring recover --volume pvc-left\n  mooring volumes erase pvc-left\n" in result.err
    assert len(disks.driver.live) == 2

    assert disks.mooring("volumes", "erase", "pvc-left", "--yes").code == 0
    nothing = disks.mooring("recover")
    assert (nothing.code, nothing.out) == (0, "")
    assert "mooring trash list" in nothing.err
