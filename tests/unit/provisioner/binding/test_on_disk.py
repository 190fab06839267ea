"""Volumes on the disks: their state in the API, and that only volumes that no object refers to are erased."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.binding.on_disk import (
    ClaimSummary,
    Cluster,
    State,
    StoredVolume,
    VolumeSummary,
    against_erasing,
    against_purging,
    stored_volumes,
)
from provisioner.model import names
from provisioner.model.inventory import Manifest, Pool
from tests.unit.provisioner.binding.objects import POOL, manifest

THIS_CLUSTER, OTHER_CLUSTER = "this-cluster", "another"
POOLS = [Pool(POOL, "main", "n1", 100, 50, ("directory",))]


def stored(
    name: str = "pv", *, cluster: str = THIS_CLUSTER, labels: dict[str, str] | None = None, **more: Any
) -> Manifest:
    """Return the manifest of a volume of the claim default/www-web-0."""
    found = manifest(name, **more)
    return dataclasses.replace(found, holder={**found.holder, names.HOLDER_CLUSTER_UID: cluster, **(labels or {})})


def pv(name: str = "pv", *, phase: str = "Bound", claim: str = "default/www-web-0") -> VolumeSummary:
    """Return its PersistentVolume."""
    return VolumeSummary(name, f"{POOL}.{name}", phase, claim)


def claim(name: str = "www-web-0", *, uid: str = "new", **more: Any) -> ClaimSummary:
    """Return a claim of namespace default."""
    return ClaimSummary("default", name, uid, **more)


def only(found: list[StoredVolume]) -> StoredVolume:
    """Return the only element."""
    (one,) = found
    return one


@pytest.mark.parametrize(
    ("found", "cluster", "state"),
    [
        (stored(), Cluster(THIS_CLUSTER, [pv()]), State.BOUND),
        (stored(), Cluster(THIS_CLUSTER, [pv(phase="Released")]), State.RELEASED),
        (stored(), Cluster(THIS_CLUSTER, [pv(phase="Available", claim="")]), State.AVAILABLE),
        (stored(), Cluster(THIS_CLUSTER, [pv(phase="Failed")]), State.FAILED),
        (stored(), Cluster(THIS_CLUSTER, [pv(phase="")]), State.PENDING),
        (stored(), Cluster(THIS_CLUSTER, [pv(phase="Odd")]), State.PENDING),
        (stored(), Cluster(THIS_CLUSTER), State.ORPHAN),
        (stored(), Cluster(THIS_CLUSTER, [pv("other")]), State.ORPHAN),
        (stored(), Cluster(THIS_CLUSTER, [], [claim()]), State.ORPHAN),
        (stored(), Cluster(THIS_CLUSTER, [], [claim(uid="old")]), State.CREATING),
        (stored(), Cluster(THIS_CLUSTER, [], [claim(uid="old", volume_name="other")]), State.ORPHAN),
        (stored(cluster=OTHER_CLUSTER), Cluster(THIS_CLUSTER), State.OTHER_CLUSTER),
        (stored(cluster=OTHER_CLUSTER), Cluster(THIS_CLUSTER, [pv()]), State.BOUND),
        (stored(cluster=""), Cluster(THIS_CLUSTER), State.ORPHAN),
    ],
)
def test_the_state_of_a_volume_is_the_phase_of_its_object_or_that_it_has_none(
    found: Manifest, cluster: Cluster, state: State
) -> None:
    """The object is found by the handle only, since names may be reused."""
    listed = next(each for each in stored_volumes([found], POOLS, cluster) if each.name == "pv")

    assert (listed.state, listed.pool, listed.nodes, listed.claim) == (state, "main", ("n1",), "default/www-web-0")


def test_an_object_whose_bytes_no_node_reports_is_listed_as_unavailable() -> None:
    """Its node may be unavailable, so it is not omitted."""
    listed = only(stored_volumes([], [], Cluster(THIS_CLUSTER, [pv()])))

    assert (listed.name, listed.state, listed.pool, listed.nodes) == ("pv", State.UNAVAILABLE, POOL, ())


def test_volumes_are_listed_once_by_claim_and_without_those_in_the_trash() -> None:
    """Volumes without a claim come last; a volume on a copied disk has both nodes."""
    copied = [*POOLS, dataclasses.replace(POOLS[0], node="n0")]
    unowned = dataclasses.replace(stored("a"), holder={})
    found = [unowned, stored("c", claim_name="z"), stored("b", claim_name="y"), stored("b", claim_name="y")]

    listed = stored_volumes([*found, stored("t", in_trash=True)], copied, Cluster(THIS_CLUSTER))

    assert [(each.claim, each.name) for each in listed] == [("default/y", "b"), ("default/z", "c"), ("", "a")]
    assert listed[0].nodes == ("n0", "n1")


REFUSED = [
    (stored(), Cluster(THIS_CLUSTER, [pv()]), "erase-volume"),
    (stored(), Cluster(THIS_CLUSTER, [pv(phase="Odd", claim="")]), "erase-volume"),
    (stored(), Cluster(THIS_CLUSTER, [], [claim()]), "erase-claim"),
    (stored(), Cluster(THIS_CLUSTER, [], [claim(uid="old", forgets=True)]), "erase-claim"),
    (stored(labels={names.RELEASED: "t"}), Cluster(THIS_CLUSTER, [], [claim(uid="old")]), "erase-claim"),
    (stored(), Cluster(THIS_CLUSTER, [], [claim("other", volume_name="pv")]), "erase-lost"),
    (stored(cluster=OTHER_CLUSTER), Cluster(THIS_CLUSTER), "erase-cluster"),
]
ALLOWED = [
    (stored(), Cluster(THIS_CLUSTER)),
    (stored(), Cluster(THIS_CLUSTER, [pv("other")], [claim(volume_name="other"), claim("x")])),
    (stored(), Cluster(THIS_CLUSTER, [], [claim(forgets=True)])),
    (stored(labels={names.RELEASED: "t"}), Cluster(THIS_CLUSTER, [], [claim()])),
    (stored(ready=False), Cluster(THIS_CLUSTER)),
    (dataclasses.replace(stored(), holder={}), Cluster(THIS_CLUSTER, [], [claim()])),
]


@pytest.mark.parametrize(("found", "cluster", "code"), REFUSED)
def test_a_volume_of_an_object_a_claim_or_another_cluster_is_not_erased(
    found: Manifest, cluster: Cluster, code: str
) -> None:
    """Each refusal has a different reason, which names the next step."""
    reason = against_erasing(found, [found], cluster)

    assert reason is not None
    assert reason.code == code
    assert "`" in reason.message or "delete" in reason.message or "--from-cluster" in reason.message


@pytest.mark.parametrize(("found", "cluster"), ALLOWED)
def test_bytes_without_an_owner_may_be_erased_unless_they_are_mounted(found: Manifest, cluster: Cluster) -> None:
    """The node reports the mount."""
    assert against_erasing(found, [found], cluster) is None
    reason = against_erasing(found, [found], cluster, used_at="/mnt")
    assert reason is not None
    assert (reason.code, reason.actual) == ("erase-mounted", "/mnt")


def test_volumes_of_a_named_cluster_may_be_erased_and_those_of_a_copied_disk_never() -> None:
    """It is unknown which of two copies is meant."""
    found = stored(cluster=OTHER_CLUSTER)

    assert against_erasing(found, [found], Cluster(THIS_CLUSTER), from_cluster=OTHER_CLUSTER) is None
    reason = against_erasing(found, [found, found], Cluster(THIS_CLUSTER), from_cluster=OTHER_CLUSTER)
    assert reason is not None
    assert reason.code == "erase-copied"


@given(
    cluster=st.sampled_from([THIS_CLUSTER, OTHER_CLUSTER, ""]),
    volumes=st.lists(st.sampled_from([pv(), pv(phase="Released"), pv("other")]), max_size=2),
    claims=st.lists(
        st.builds(
            claim,
            st.sampled_from(["www-web-0", "x"]),
            uid=st.sampled_from(["old", "new"]),
            volume_name=st.sampled_from(["", "pv", "other"]),
            forgets=st.booleans(),
        ),
        max_size=2,
    ),
    released=st.booleans(),
)
def test_a_volume_that_may_be_erased_has_no_object_and_no_claim_refers_to_it(
    cluster: str, volumes: list[VolumeSummary], claims: list[ClaimSummary], *, released: bool
) -> None:
    """The converse of the rule: no claim names it, waits for it, or would adopt it."""
    found = stored(cluster=cluster, labels={names.RELEASED: "t"} if released else None)
    present = Cluster(THIS_CLUSTER, volumes, claims)
    if against_erasing(found, [found], present) is not None:
        return

    assert cluster != OTHER_CLUSTER
    assert next(each for each in stored_volumes([found], POOLS, present) if each.name == "pv").state is State.ORPHAN
    assert not any(each.volume_name == "pv" for each in claims)
    waiting = [each for each in claims if not each.volume_name and each.name == "www-web-0"]
    assert all(each.uid == "new" and (each.forgets or released) for each in waiting)


def test_an_object_or_a_claim_with_invalid_fields_still_counts() -> None:
    """An object that cannot be read completely must not count as absent: its bytes would be erased."""
    spec = {"csi": {"driver": names.DRIVER, "volumeHandle": "h"}, "capacity": {"storage": "much"}, "nodeAffinity": []}
    invalid = {"metadata": {"name": "pv"}, "spec": spec}

    assert VolumeSummary.of(invalid) == VolumeSummary("pv", "h", capacity="much")
    assert VolumeSummary.of({"metadata": {"name": "pv"}}) is None
    assert ClaimSummary.of({"metadata": {"name": "c", "namespace": "n"}, "spec": None}) == ClaimSummary("n", "c", "")


def _deleted(at: int = 5, **more: Any) -> Manifest:
    return dataclasses.replace(stored(in_trash=True, **more), deleted=at)


@pytest.mark.parametrize(("found", "cluster", "code"), [(_deleted(), each[1], each[2]) for each in REFUSED[:4]])
def test_a_volume_that_an_object_or_a_claim_needs_is_not_removed_from_the_trash(
    found: Manifest, cluster: Cluster, code: str
) -> None:
    """A claim that waits for it would get an empty volume instead."""
    reason = against_purging(found, [found], cluster)

    assert reason is not None
    assert reason.code == code


def test_an_entry_of_the_trash_is_not_needed_when_a_newer_volume_has_its_handle() -> None:
    """Undelete restores the newest, and none while the volume exists; an entry of another cluster is retained."""
    present = Cluster(THIS_CLUSTER, [pv()], [claim(uid="old")])
    for newer in (stored(), _deleted(6)):
        assert against_purging(_deleted(), [_deleted(), newer], present) is None
    foreign = _deleted(cluster=OTHER_CLUSTER)
    reason = against_purging(foreign, [foreign, stored()], present)
    assert reason is not None
    assert reason.code == "erase-cluster"
    assert against_purging(foreign, [foreign], Cluster(THIS_CLUSTER), from_cluster=OTHER_CLUSTER) is None
