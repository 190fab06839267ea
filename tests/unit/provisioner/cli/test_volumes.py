"""`mooring volumes`: what is on the disks is shown, and what nothing has can be erased."""

import json

import pytest

from provisioner.cli.sizes import human
from provisioner.model.kinds import NODE
from tests.unit.provisioner.cli.disks import Disks, disks, golden
from tests.unit.provisioner.controllers.objects import POOL

__all__ = ["disks"]
LEFT = f"{POOL}.pvc-left"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["volumes"], "volumes.txt"),
        (["volumes", "-o", "wide"], "volumes-wide.txt"),
        (["volumes", "-o", "json"], "volumes.json"),
    ],
)
def test_the_list_is_the_recorded_one(disks: Disks, words: list[str], name: str) -> None:
    """People and scripts rely on it; what to do about an orphan stands beside it, on stderr."""
    shown = disks.mooring(*words)

    assert (shown.code, shown.out) == (0, golden(name))
    assert "mooring recover --volume pvc-left" in shown.err
    assert "mooring volumes erase pvc-left" in shown.err


def test_only_those_without_an_object_can_be_asked_for(disks: Disks) -> None:
    """And an empty list says so."""
    listed = json.loads(disks.mooring("volumes", "--orphans", "-o", "json").out)
    assert [(each["volume"], each["state"]) for each in listed] == [
        ("pvc-left", "orphan"),
        ("pvc-far", "other-cluster"),
    ]

    disks.driver.live.clear()
    shown = disks.mooring("volumes", "--orphans")
    assert (shown.code, shown.out) == (0, "")
    assert "no volume without a PersistentVolume" in shown.err


def test_a_node_that_does_not_answer_is_named_and_its_volumes_are_not_forgotten(disks: Disks) -> None:
    """Its PersistentVolumes are listed as unavailable."""
    disks.driver.live.clear()
    disks.api.put(NODE, {"metadata": {"name": "far", "labels": {f"pool.mooring.dev/{POOL}": "present"}}})
    shown = disks.mooring("volumes", "-o", "json")

    assert [(each["volume"], each["state"]) for each in json.loads(shown.out)] == [("pvc-c1", "unavailable")]
    assert "node far has a pool, and its driver does not answer" in shown.err


def test_a_volume_without_an_object_is_erased_when_that_was_confirmed(disks: Disks) -> None:
    """Into the trash; a dry run and a lacking --yes change nothing."""
    asked = disks.mooring("volumes", "erase", "pvc-left")
    assert (asked.code, asked.out) == (2, "")
    assert "--yes" in asked.err
    dry = disks.mooring("volumes", "erase", "pvc-left", "--dry-run")
    assert (dry.code, dry.out) == (0, "volume pvc-left (80Mi) would be erased, into the trash (dry run)\n")
    assert LEFT in disks.driver.live

    done = disks.mooring("volumes", "--state", "s", "erase", "pvc-left", "--yes", "-o", "json")
    (outcome,) = json.loads(done.out)
    assert (done.code, outcome["volume"], outcome["result"], outcome["reason"]) == (0, "pvc-left", "in the trash", "")
    assert (LEFT in disks.driver.live, LEFT in disks.driver.trash) == (False, True)
    again = disks.mooring("volumes", "erase", "pvc-left", "--yes")
    assert again.code == 1
    assert "in the trash already" in again.err


def test_erasing_now_leaves_nothing_in_the_trash(disks: Disks) -> None:
    """By its handle, too, which is never ambiguous."""
    assert disks.mooring("volumes", "erase", LEFT, "--yes", "--now").code == 0
    assert LEFT not in {*disks.driver.live, *disks.driver.trash}


def test_one_refusal_erases_none(disks: Disks) -> None:
    """Each is looked at before the first is changed, and each refusal has its code."""
    refused = disks.mooring("volumes", "erase", "pvc-left", "pvc-c1", "pvc-far", "--yes", "-o", "json")

    assert refused.code == 1
    assert [(each["volume"], each["reason"]) for each in json.loads(refused.out)] == [
        ("pvc-c1", "erase-volume"),
        ("pvc-far", "erase-cluster"),
    ]
    assert "PersistentVolume pvc-c1 represents it" in refused.err
    assert len(disks.driver.live) == 3
    assert disks.mooring("volumes", "erase", "pvc-far", "--from-cluster", "far-away", "--yes").code == 0


def test_what_is_not_there_or_has_a_name_that_several_have_is_refused(disks: Disks) -> None:
    """In one sentence."""
    gone = disks.mooring("volumes", "erase", "nothing", "--yes")
    assert (gone.code, gone.out, gone.err.count("\n")) == (1, "", 1)
    assert "volume nothing" in gone.err
    other = disks.driver.live[LEFT]
    disks.driver.live["f0000000-0000-0000-0000-000000000000.pvc-left"] = type(other)(
        volume_id="f0000000-0000-0000-0000-000000000000.pvc-left", csi_name="pvc-left", state="ready"
    )
    several = disks.mooring("volumes", "erase", "pvc-left", "--yes")
    assert several.code == 1
    assert "by its handle" in several.err


def test_a_mount_is_a_refusal_of_the_dry_run_too(disks: Disks) -> None:
    """It promises nothing that the real run would refuse."""
    disks.driver.used[LEFT] = "/var/lib/kubelet/x"
    for more in ("--dry-run", "--yes"):
        refused = disks.mooring("volumes", "erase", "pvc-left", more)
        assert refused.code == 1
        assert "/var/lib/kubelet/x" in refused.err
    assert disks.mooring("volumes", "erase", "pvc-left", "--yes", "--dry-run").code == 2


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (None, "-"),
        (0, "0"),
        (512, "512"),
        (1023, "1023"),
        (1024, "1Ki"),
        (1536, "1.5Ki"),
        (80 << 20, "80Mi"),
        ((1 << 30) - 1, "1Gi"),
        (61_300_000, "58Mi"),
        (1 << 63, "8Ei"),
        (1 << 80, "1048576Ei"),
    ],
)
def test_sizes_are_shown_as_people_read_them(count: int | None, shown: str) -> None:
    """In Kubernetes' binary units."""
    assert human(count) == shown
