"""`mooring trash`: deleted volumes are shown, come back to where their claims find them, or go for good."""

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
    """Deleted: pvc-left a week ago, pvc-scratch now, and pvc-far of another cluster two days ago."""
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
    ("words", "name"),
    [
        (["list"], "trash.txt"),
        (["list", "-o", "wide"], "trash-wide.txt"),
        (["list", "-o", "json"], "trash.json"),
    ],
)
def test_the_list_is_the_recorded_one(trash: Disks, words: list[str], name: str) -> None:
    """With times in UTC, and until when each is kept."""
    for number, handle in enumerate((LEFT, FAR, SCRATCH)):
        trash.driver.deleted[handle] = 1_800_000_000 + number
    shown = trash.mooring("trash", *words)

    assert (shown.code, shown.out) == (0, golden(name))


def test_an_empty_trash_says_so_and_a_node_that_does_not_answer_is_named(disks: Disks) -> None:
    """An empty list stays a list for programs."""
    disks.api.put(NODE, {"metadata": {"name": "far", "labels": {f"pool.mooring.dev/{POOL}": "present"}}})
    shown = disks.mooring("trash", "list", "-o", "json")

    assert (shown.code, json.loads(shown.out)) == (0, [])
    assert "the trash is empty" in shown.err
    assert "node far" in shown.err


def test_what_is_restored_is_reserved_for_the_claim_that_had_it(trash: Disks) -> None:
    """A dry run restores nothing; also where the class never adopts by itself."""
    dry = trash.mooring("trash", "restore", "pvc-left", "pvc-scratch", "--dry-run")
    assert dry.code == 0
    assert dry.out.count("would be restored; claim default/") == dry.out.count("(dry run)") == 2
    assert len(trash.driver.trash) == 3

    done = trash.mooring("trash", "restore", "pvc-left", SCRATCH, "-o", "json")
    assert (done.code, [each["result"] for each in json.loads(done.out)]) == (0, ["restored", "restored"])
    assert list(trash.driver.trash) == [FAR]
    made = {each["metadata"]["name"]: each["spec"] for each in trash.api.all(VOLUME)}
    assert made["pvc-left"]["claimRef"]["name"] == "www-web-0"
    assert made["pvc-scratch"]["claimRef"]["uid"] == IMPORTED_UID
    assert {made[each]["persistentVolumeReclaimPolicy"] for each in ("pvc-left", "pvc-scratch")} == {"Retain"}


def test_what_cannot_be_restored_keeps_the_others_where_they_are(trash: Disks) -> None:
    """With its reason; a volume that is not deleted is refused by name."""
    trash.driver.trash[SCRATCH].holder.labels["mooring.dev/namespace"] = "gone"
    refused = trash.mooring("trash", "restore", "pvc-left", "pvc-scratch", "-o", "json")

    assert refused.code == 1
    assert [each["reason"] for each in json.loads(refused.out)] == ["recover-namespace"]
    assert len(trash.driver.trash) == 3
    live = trash.mooring("trash", "restore", "pvc-c1")
    assert (live.code, live.err.count("\n")) == (1, 1)


def test_emptying_needs_a_word_and_says_what_would_go(trash: Disks) -> None:
    """Neither a lacking --yes nor a dry run removes anything, and what is meant has to be said once."""
    for words in (["pvc-left"], ["--all"], ["--all", "--yes", "--dry-run"], ["--yes"], ["pvc-left", "--all", "--yes"]):
        assert trash.mooring("trash", "empty", *words).code == 2, words
    dry = trash.mooring("trash", "empty", "pvc-left", "--dry-run")

    assert (dry.code, dry.out) == (0, "volume pvc-left (80Mi) would be removed for good (dry run)\n")
    assert len(trash.driver.trash) == 3


def test_only_what_was_deleted_long_enough_ago_goes(trash: Disks) -> None:
    """And what another cluster recorded stays, with the reason, unless that cluster is named."""
    done = trash.mooring("trash", "empty", "--older-than", "7d", "--yes")
    assert (done.code, done.out) == (0, "volume pvc-left (80Mi) removed for good\n")

    done = trash.mooring("trash", "empty", "--all", "--yes", "-o", "json")
    assert done.code == 1
    outcomes = {each["volume"]: (each["result"], each["reason"]) for each in json.loads(done.out)}
    assert outcomes == {"pvc-scratch": ("removed", ""), "pvc-far": ("refused", "erase-cluster")}
    assert trash.mooring("trash", "empty", "pvc-far", "--from-cluster", "far-away", "--yes").code == 0
    assert trash.driver.trash == {}
    again = trash.mooring("trash", "empty", "--all", "--yes")
    assert (again.code, "nothing in the trash" in again.err) == (0, True)


def test_what_a_waiting_claim_may_get_is_not_removed(trash: Disks) -> None:
    """It would get an empty volume afterwards; the claim comes first."""
    waiting = claim(uid="new")
    waiting["metadata"]["name"] = "work-job-0"
    trash.api.put(CLAIM, waiting)
    refused = trash.mooring("trash", "empty", "pvc-left", "pvc-scratch", "--yes", "-o", "json")

    assert refused.code == 1
    assert [each["reason"] for each in json.loads(refused.out)] == ["erase-claim"]
    assert len(trash.driver.trash) == 3


def test_what_comes_into_the_trash_meanwhile_stays(trash: Disks, monkeypatch: pytest.MonkeyPatch) -> None:
    """The purge names the moment of what was seen."""
    purge = trash.driver.purge

    async def deleted_again(handle: str, *, deleted_before: int) -> int:
        trash.driver.deleted[handle] += 60
        return await purge(handle, deleted_before=deleted_before)

    monkeypatch.setattr(trash.driver, "purge", deleted_again)
    trash.mooring("trash", "empty", "pvc-left", "--yes")
    assert LEFT in trash.driver.trash


@pytest.mark.parametrize(("text", "seconds"), [("0s", 0), ("90m", 5400), ("1d12h", 129600), ("7d", WEEK)])
def test_a_span_of_time_is_read(text: str, seconds: int) -> None:
    """In days, hours, minutes and seconds."""
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "1w", "-1d", "1.5h", "1d ", "٣d", "9" * 400 + "d"])
def test_another_text_is_no_span_of_time(trash: Disks, text: str) -> None:
    """It says how to write one."""
    refused = trash.mooring("trash", "empty", "--older-than", text, "--yes")
    assert refused.code == 2
    assert "36h" in refused.err


def test_a_span_longer_than_time_means_nothing(trash: Disks) -> None:
    """And is no fault of ours."""
    assert trash.mooring("trash", "empty", "--older-than", "999999999d", "--yes").code == 0
    assert len(trash.driver.trash) == 3
