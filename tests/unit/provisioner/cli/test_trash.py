"""`mooring trash`: list, restore and purge deleted volumes."""

import json
import time
from typing import Any

import pytest

from provisioner.cli.durations import Duration
from provisioner.model.kinds import CLAIM, NODE, STORAGE_CLASS, VOLUME
from provisioner.model.names import IMPORTED_UID
from tests.unit.provisioner.cli.disks import Disks, disks, golden
from tests.unit.provisioner.controllers.objects import POOL, claim, storage_class

__all__ = ["disks"]
LEFT, FAR, SCRATCH = (f"{POOL}.{name}" for name in ("pvc-left", "pvc-far", "pvc-scratch"))
WEEK = 7 * 86400


@pytest.fixture
def trash(disks: Disks) -> Disks:
    """Delete pvc-left a week ago, pvc-scratch now, and pvc-far of another cluster two days ago."""
    disks.store("pvc-scratch", claim_name="work-job-0")
    disks.driver.live[SCRATCH].holder.labels["mooring.dev/storage-class"] = "mooring-scratch"
    scratch: dict[str, Any] = storage_class(adopt="Never")
    scratch["metadata"] = {"name": "mooring-scratch"}
    disks.api.put(STORAGE_CLASS, {**scratch, "reclaimPolicy": "Delete"})
    now = int(time.time())
    for handle, age in ((LEFT, WEEK + 5), (FAR, 2 * 86400), (SCRATCH, 0)):
        disks.driver.trash[handle] = disks.driver.live.pop(handle)
        disks.driver.deleted[handle] = now - age
    return disks


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["list"], "trash.txt"),
        (["list", "-o", "wide"], "trash-wide.txt"),
        (["list", "-o", "json"], "trash.json"),
    ],
)
def test_the_list_is_the_recorded_one(trash: Disks, arguments: list[str], name: str) -> None:
    """The list has the times of deletion and purging, in UTC."""
    for number, handle in enumerate((LEFT, FAR, SCRATCH)):
        trash.driver.deleted[handle] = 1_800_000_000 + number
    result = trash.mooring("trash", *arguments)

    assert (result.code, result.out) == (0, golden(name))


def test_an_empty_trash_is_reported_and_unreachable_nodes_are_named(disks: Disks) -> None:
    """The data output is an empty list."""
    disks.api.put(NODE, {"metadata": {"name": "far", "labels": {f"pool.mooring.dev/{POOL}": "present"}}})
    result = disks.mooring("trash", "list", "-o", "json")

    assert (result.code, json.loads(result.out)) == (0, [])
    assert "the trash is empty" in result.err
    assert "node far" in result.err


def test_a_restored_volume_is_reserved_for_its_last_claim(trash: Disks) -> None:
    """A dry run restores nothing; a volume of a class with adopt: Never is reserved for its claim, too."""
    dry = trash.mooring("trash", "restore", "pvc-left", "pvc-scratch", "--dry-run")
    assert dry.code == 0
    assert dry.out.count("would be restored; claim default/") == dry.out.count("(dry run)") == 2
    assert len(trash.driver.trash) == 3

    done = trash.mooring("trash", "restore", "pvc-left", SCRATCH, "-o", "json")
    assert (done.code, [each["result"] for each in json.loads(done.out)]) == (0, ["restored", "restored"])
    assert list(trash.driver.trash) == [FAR]
    created = {each["metadata"]["name"]: each["spec"] for each in trash.api.all(VOLUME)}
    assert created["pvc-left"]["claimRef"]["name"] == "www-web-0"
    assert created["pvc-scratch"]["claimRef"]["uid"] == IMPORTED_UID
    assert {created[each]["persistentVolumeReclaimPolicy"] for each in ("pvc-left", "pvc-scratch")} == {"Retain"}


def test_no_volume_is_restored_if_one_cannot_be(trash: Disks) -> None:
    """The refusal has its reason code; a volume that is not deleted is refused, too."""
    trash.driver.trash[SCRATCH].holder.labels["mooring.dev/namespace"] = "gone"
    refused = trash.mooring("trash", "restore", "pvc-left", "pvc-scratch", "-o", "json")

    assert refused.code == 1
    assert [each["reason"] for each in json.loads(refused.out)] == ["recover-namespace"]
    assert len(trash.driver.trash) == 3
    not_deleted = trash.mooring("trash", "restore", "pvc-c1")
    assert (not_deleted.code, not_deleted.err.count("\n")) == (1, 1)


def test_empty_needs_a_confirmation_and_lists_what_would_be_purged(trash: Disks) -> None:
    """Neither a missing --yes nor a dry run purges anything; the selection is either names or one option."""
    for arguments in (
        ["pvc-left"],
        ["--all"],
        ["--all", "--yes", "--dry-run"],
        ["--yes"],
        ["pvc-left", "--all", "--yes"],
    ):
        assert trash.mooring("trash", "empty", *arguments).code == 2, arguments
    dry = trash.mooring("trash", "empty", "pvc-left", "--dry-run")

    assert (dry.code, dry.out) == (0, "volume pvc-left (80Mi) would be purged (dry run)\n")
    assert len(trash.driver.trash) == 3


def test_older_than_purges_only_volumes_deleted_long_enough_ago(trash: Disks) -> None:
    """Volumes of another cluster are refused with a reason, unless --from-cluster names that cluster."""
    done = trash.mooring("trash", "empty", "--older-than", "7d", "--yes")
    assert (done.code, done.out) == (0, "volume pvc-left (80Mi) purged\n")

    done = trash.mooring("trash", "empty", "--all", "--yes", "-o", "json")
    assert done.code == 1
    outcomes = {each["volume"]: (each["result"], each["reason"]) for each in json.loads(done.out)}
    assert outcomes == {"pvc-scratch": ("removed", ""), "pvc-far": ("refused", "erase-cluster")}
    assert trash.mooring("trash", "empty", "pvc-far", "--from-cluster", "far-away", "--yes").code == 0
    assert trash.driver.trash == {}
    again = trash.mooring("trash", "empty", "--all", "--yes")
    assert (again.code, "no volume in the trash" in again.err) == (0, True)


def test_a_volume_that_a_waiting_claim_may_adopt_is_not_purged(trash: Disks) -> None:
    """If it were purged, the claim would get an empty volume."""
    waiting = claim(uid="new")
    waiting["metadata"]["name"] = "work-job-0"
    trash.api.put(CLAIM, waiting)
    refused = trash.mooring("trash", "empty", "pvc-left", "pvc-scratch", "--yes", "-o", "json")

    assert refused.code == 1
    assert [each["reason"] for each in json.loads(refused.out)] == ["erase-claim"]
    assert len(trash.driver.trash) == 3


def test_a_volume_deleted_after_the_check_is_not_purged(trash: Disks, monkeypatch: pytest.MonkeyPatch) -> None:
    """The purge request has the time of deletion that was observed."""
    purge = trash.driver.purge

    async def deleted_again(handle: str, *, deleted_before: int) -> int:
        trash.driver.deleted[handle] += 60
        return await purge(handle, deleted_before=deleted_before)

    monkeypatch.setattr(trash.driver, "purge", deleted_again)
    trash.mooring("trash", "empty", "pvc-left", "--yes")
    assert LEFT in trash.driver.trash


@pytest.mark.parametrize(("text", "seconds"), [("0s", 0), ("90m", 5400), ("1d12h", 129600), ("7d", WEEK)])
def test_a_duration_is_parsed(text: str, seconds: int) -> None:
    """The units are days, hours, minutes and seconds."""
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "1w", "-1d", "1.5h", "1d ", "٣d", "9" * 400 + "d"])
def test_any_other_text_is_not_a_duration(trash: Disks, text: str) -> None:
    """The error shows valid examples."""
    refused = trash.mooring("trash", "empty", "--older-than", text, "--yes")
    assert refused.code == 2
    assert "36h" in refused.err


def test_a_duration_longer_than_unix_time_selects_nothing(trash: Disks) -> None:
    """It is accepted without an error."""
    assert trash.mooring("trash", "empty", "--older-than", "999999999d", "--yes").code == 0
    assert len(trash.driver.trash) == 3
