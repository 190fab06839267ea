"""`history`, `explain` and `recover` tell of bytes that are on a disk without a PersistentVolume."""

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
def left(disks: Disks, monkeypatch: pytest.MonkeyPatch) -> list[Stored]:
    """One volume of the claim default/www-web-0 is in a pool, another in the trash; the driver can be asked."""
    live = disks.driver.live[f"{HANDLE.partition('.')[0]}.pvc-left"]
    live.pool_name = "small"
    live.holder.labels.update({"mooring.dev/stateful-set": "web", "mooring.dev/ordinal": "0"})
    live.holder.since.FromJsonString("2026-01-02T03:04:05.678Z")
    deleted = type(live)()
    deleted.CopyFrom(live)
    deleted.csi_name, deleted.volume_id = "pvc-deleted", f"{HANDLE}-deleted"
    found = [Stored(live, in_trash=False), Stored(deleted, in_trash=True)]
    monkeypatch.setattr(disk_side, "_ask", lambda _: found)
    return found


@pytest.mark.usefixtures("left")
def test_history_lists_them_and_says_where_they_are(mooring: Mooring) -> None:
    """By the pod's name and by the claim's; programs are told by a state."""
    for name in ("web-0", "www-web-0"):
        shown = mooring("history", name)
        assert shown.code == 0
        assert [line.split()[:3] for line in shown.out.splitlines()[1:]] == [
            ["www-web-0", "pvc-deleted", "2026-01-02T03:04:05Z"],
            ["www-web-0", "pvc-left", "2026-01-02T03:04:05Z"],
        ]
        assert "volume pvc-left is in pool small without a PersistentVolume; `mooring recover --volume" in shown.err
        assert "volume pvc-deleted is in the trash; `mooring trash restore pvc-deleted`" in shown.err
    states = {each["volume"]: each["state"] for each in json.loads(mooring("history", "web-0", "-o", "json").out)}
    assert states == {"pvc-left": "orphan", "pvc-deleted": "trash"}
    assert mooring("history", "web-1").code == 1


@pytest.mark.usefixtures("left")
def test_explain_volume_says_what_becomes_of_bytes_without_an_object(mooring: Mooring) -> None:
    """By the volume's name or its handle; what no disk has is not found."""
    shown = mooring("explain", "volume", "pvc-left")
    assert shown.code == 1
    assert shown.out.startswith("volume pvc-left: Orphan\n  it is in pool small without a PersistentVolume;")
    assert "80Mi are reserved for it; claim default/www-web-0 had it last" in shown.out
    assert mooring("explain", "volume", f"{HANDLE}-deleted").out.splitlines()[0].endswith(": Deleted")
    nothing = mooring("explain", "volume", "nothing")
    assert (nothing.code, "not found" in nothing.err) == (1, True)


@pytest.mark.usefixtures("left")
def test_explain_claim_names_the_volumes_that_it_had(mooring: Mooring) -> None:
    """Whether it exists, and waits for something else, or not."""
    gone = mooring("explain", "claim", "www-web-0")
    assert gone.code == 1
    assert "not found; volume pvc-left is in pool small without" in gone.err
    assert "pvc-" not in mooring("explain", "claim", "other").err


def test_explain_claim_decides_on_what_the_driver_knows(
    mooring: Mooring, left: list[Stored], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A claim whose class does not exist says that, and that its bytes are there all the same."""
    file = tmp_path_factory.mktemp("m") / "claim.yaml"
    file.write_text(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: www-web-0}\nspec: {accessModes: [ReadWriteOnce], "
        "storageClassName: none-such, resources: {requests: {storage: 1Mi}}}\n",
        encoding="utf-8",
    )
    assert mooring("apply", "-f", str(file)).code == 0
    shown = mooring("explain", "claim", "www-web-0")

    assert shown.code == 1
    assert "StorageClass none-such does not exist" in shown.out
    assert all(f"volume {each.manifest.csi_name} is in" in shown.out for each in left)


@pytest.mark.limit("disks-from-outside")
def test_where_the_drivers_cannot_be_asked_it_is_said_where_they_can(mooring: Mooring, state: Path) -> None:
    """That nothing is there would be more than is known: of a cluster only the controller's pod reaches them."""
    for words in (("history", "web-0"), ("explain", "volume", "pvc-left"), ("explain", "claim", "www-web-0")):
        engine = mooring(*words)
        assert (engine.code, "the driver of this engine does not answer" in engine.err) == (1, True)
        cluster = mooring(*words, "--kubeconfig", str(state / "kubeconfig"))
        assert cluster.code == 1
        assert "exec deployment/mooring-controller -- mooring volumes" in cluster.err


def test_recover_shows_them_and_how_to_restore_or_erase_them(disks: Disks) -> None:
    """A look changes nothing; when there is nothing to restore, deleted volumes are pointed at."""
    del disks.driver.live[f"{HANDLE.partition('.')[0]}.pvc-far"]
    shown = disks.mooring("recover", "-o", "json")
    assert [(each["volume"], each["reason"]) for each in json.loads(shown.out)] == [("pvc-left", "recover-several")]
    disks.driver.live[f"{HANDLE.partition('.')[0]}.pvc-left"].holder.labels["mooring.dev/claim"] = "other"
    shown = disks.mooring("recover")
    assert shown.code == 0
    assert "pvc-left" in shown.out
    assert "mooring recover --volume pvc-left\n  mooring volumes erase pvc-left\n" in shown.err
    assert len(disks.driver.live) == 2

    assert disks.mooring("volumes", "erase", "pvc-left", "--yes").code == 0
    nothing = disks.mooring("recover")
    assert (nothing.code, nothing.out) == (0, "")
    assert "mooring trash list" in nothing.err
