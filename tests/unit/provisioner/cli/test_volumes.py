"""`mooring volumes`: list all volumes on the disks, and erase orphans."""

import json

import pytest

from provisioner.cli.sizes import human
from provisioner.model.kinds import NODE
from tests.unit.provisioner.cli.disks import Disks, disks, golden
from tests.unit.provisioner.controllers.objects import POOL

__all__ = ["disks"]
LEFT = f"{POOL}.pvc-left"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["volumes"], "volumes.txt"),
        (["volumes", "-o", "wide"], "volumes-wide.txt"),
        (["volumes", "-o", "json"], "volumes.json"),
    ],
)
def test_the_list_is_the_recorded_one(disks: Disks, arguments: list[str], name: str) -> None:
    """Scripts rely on the format; commands to restore or erase an orphan are on stderr."""
    result = disks.mooring(*arguments)

    assert (result.code, result.out) == (0, golden(name))
    assert "mooring recover --volume pvc-left" in result.err
    assert "mooring volumes erase pvc-left" in result.err


def test_orphans_lists_only_volumes_without_a_persistent_volume(disks: Disks) -> None:
    """An empty list is reported."""
    listed = json.loads(disks.mooring("volumes", "--orphans", "-o", "json").out)
    assert [(each["volume"], each["state"]) for each in listed] == [
        ("pvc-left", "orphan"),
        ("pvc-far", "other-cluster"),
    ]

    disks.driver.live.clear()
    result = disks.mooring("volumes", "--orphans")
    assert (result.code, result.out) == (0, "")
    assert "no volume without a PersistentVolume" in result.err


def test_a_node_that_does_not_answer_is_named_and_its_volumes_are_listed(disks: Disks) -> None:
    """Its PersistentVolumes have the state unavailable."""
    disks.driver.live.clear()
    disks.api.put(NODE, {"metadata": {"name": "far", "labels": {f"pool.mooring.dev/{POOL}": "present"}}})
    result = disks.mooring("volumes", "-o", "json")

    assert [(each["volume"], each["state"]) for each in json.loads(result.out)] == [("pvc-c1", "unavailable")]
    assert "node far has a pool, and its driver does not answer" in result.err


def test_an_orphan_is_erased_after_a_confirmation(disks: Disks) -> None:
    """It is moved to the trash; a dry run and a missing --yes change nothing."""
    unconfirmed = disks.mooring("volumes", "erase", "pvc-left")
    assert (unconfirmed.code, unconfirmed.out) == (2, "")
    assert "--yes" in unconfirmed.err
    dry = disks.mooring("volumes", "erase", "pvc-left", "--dry-run")
    assert (dry.code, dry.out) == (0, "volume pvc-left (80Mi) would be moved to the trash (dry run)\n")
    assert LEFT in disks.driver.live

    done = disks.mooring("volumes", "--state", "s", "erase", "pvc-left", "--yes", "-o", "json")
    (outcome,) = json.loads(done.out)
    assert (done.code, outcome["volume"], outcome["result"], outcome["reason"]) == (0, "pvc-left", "in the trash", "")
    assert (LEFT in disks.driver.live, LEFT in disks.driver.trash) == (False, True)
    again = disks.mooring("volumes", "erase", "pvc-left", "--yes")
    assert again.code == 1
    assert "in the trash already" in again.err


def test_erasing_now_leaves_nothing_in_the_trash(disks: Disks) -> None:
    """The volume can be named by its handle, which is never ambiguous."""
    assert disks.mooring("volumes", "erase", LEFT, "--yes", "--now").code == 0
    assert LEFT not in {*disks.driver.live, *disks.driver.trash}


def test_one_refusal_erases_none(disks: Disks) -> None:
    """All volumes are checked before the first is erased, and each refusal has its code."""
    refused = disks.mooring("volumes", "erase", "pvc-left", "pvc-c1", "pvc-far", "--yes", "-o", "json")

    assert refused.code == 1
    assert [(each["volume"], each["reason"]) for each in json.loads(refused.out)] == [
        ("pvc-c1", "erase-volume"),
        ("pvc-far", "erase-cluster"),
    ]
    assert "PersistentVolume pvc-c1 represents it" in refused.err
    assert len(disks.driver.live) == 3
    assert disks.mooring("volumes", "erase", "pvc-far", "--from-cluster", "far-away", "--yes").code == 0


def test_unknown_and_ambiguous_names_are_refused(disks: Disks) -> None:
    """The error is one message."""
    missing = disks.mooring("volumes", "erase", "nothing", "--yes")
    assert (missing.code, missing.out, missing.err.count("\n")) == (1, "", 1)
    assert "volume nothing" in missing.err
    other = disks.driver.live[LEFT]
    disks.driver.live["f0000000-0000-0000-0000-000000000000.pvc-left"] = type(other)(
        volume_id="f0000000-0000-0000-0000-000000000000.pvc-left", csi_name="pvc-left", state="ready"
    )
    several = disks.mooring("volumes", "erase", "pvc-left", "--yes")
    assert several.code == 1
    assert "use a handle" in several.err


def test_a_mounted_volume_is_refused_also_in_a_dry_run(disks: Disks) -> None:
    """A dry run has the same refusals as the real run."""
    disks.driver.used[LEFT] = "/var/lib/kubelet/x"
    for flag in ("--dry-run", "--yes"):
        refused = disks.mooring("volumes", "erase", "pvc-left", flag)
        assert refused.code == 1
        assert "/var/lib/kubelet/x" in refused.err
    assert disks.mooring("volumes", "erase", "pvc-left", "--yes", "--dry-run").code == 2


@pytest.mark.parametrize(
    ("count", "text"),
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
def test_sizes_are_printed_in_binary_units(count: int | None, text: str) -> None:
    """Sizes have Kubernetes' binary units and two digits at least."""
    assert human(count) == text
