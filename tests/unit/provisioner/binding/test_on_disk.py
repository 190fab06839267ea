"""Volumes on the disks: what stands for them in the API, and that only those that nothing has are erased."""

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

HERE, ELSEWHERE = "this-cluster", "another"
POOLS = [Pool(POOL, "main", "n1", 100, 50, ("directory",))]


def stored(name: str = "pv", *, cluster: str = HERE, labels: dict[str, str] | None = None, **more: Any) -> Manifest:
    """A volume of the claim default/www-web-0."""
    made = manifest(name, **more)
    return dataclasses.replace(made, holder={**made.holder, names.HOLDER_CLUSTER_UID: cluster, **(labels or {})})


def pv(name: str = "pv", *, phase: str = "Bound", claim: str = "default/www-web-0") -> VolumeSummary:
    """Its PersistentVolume."""
    return VolumeSummary(name, f"{POOL}.{name}", phase, claim)


def claim(name: str = "www-web-0", *, uid: str = "new", **more: Any) -> ClaimSummary:
    """A claim of namespace default."""
    return ClaimSummary("default", name, uid, **more)


def only(found: list[StoredVolume]) -> StoredVolume:
    """The one there is."""
    (one,) = found
    return one


@pytest.mark.parametrize(
    ("found", "cluster", "state"),
    [
        (stored(), Cluster(HERE, [pv()]), State.BOUND),
        (stored(), Cluster(HERE, [pv(phase="Released")]), State.RELEASED),
        (stored(), Cluster(HERE, [pv(phase="Available", claim="")]), State.AVAILABLE),
        (stored(), Cluster(HERE, [pv(phase="Failed")]), State.FAILED),
        (stored(), Cluster(HERE, [pv(phase="")]), State.PENDING),
        (stored(), Cluster(HERE, [pv(phase="Odd")]), State.PENDING),
        (stored(), Cluster(HERE), State.ORPHAN),
        (stored(), Cluster(HERE, [pv("other")]), State.ORPHAN),
        (stored(), Cluster(HERE, [], [claim()]), State.ORPHAN),
        (stored(), Cluster(HERE, [], [claim(uid="old")]), State.CREATING),
        (stored(), Cluster(HERE, [], [claim(uid="old", volume_name="other")]), State.ORPHAN),
        (stored(cluster=ELSEWHERE), Cluster(HERE), State.OTHER_CLUSTER),
        (stored(cluster=ELSEWHERE), Cluster(HERE, [pv()]), State.BOUND),
        (stored(cluster=""), Cluster(HERE), State.ORPHAN),
    ],
)
def test_the_state_of_a_volume_is_that_of_its_object_or_says_that_there_is_none(
    found: Manifest, cluster: Cluster, state: State
) -> None:
    """By its handle alone, as names may be used again."""
    listed = next(each for each in stored_volumes([found], POOLS, cluster) if each.name == "pv")

    assert (listed.state, listed.pool, listed.nodes, listed.claim) == (state, "main", ("n1",), "default/www-web-0")


def test_an_object_whose_bytes_no_node_reports_is_listed_as_such() -> None:
    """Its node may be away: it does not look as if it had never been."""
    listed = only(stored_volumes([], [], Cluster(HERE, [pv()])))

    assert (listed.name, listed.state, listed.pool, listed.nodes) == ("pv", State.UNAVAILABLE, POOL, ())


def test_volumes_are_listed_once_by_claim_and_without_those_in_the_trash() -> None:
    """Those of no claim come last; a copied disk shows both nodes."""
    copied = [*POOLS, dataclasses.replace(POOLS[0], node="n0")]
    nobody = dataclasses.replace(stored("a"), holder={})
    found = [nobody, stored("c", claim_name="z"), stored("b", claim_name="y"), stored("b", claim_name="y")]

    listed = stored_volumes([*found, stored("t", in_trash=True)], copied, Cluster(HERE))

    assert [(each.claim, each.name) for each in listed] == [("default/y", "b"), ("default/z", "c"), ("", "a")]
    assert listed[0].nodes == ("n0", "n1")


REFUSED = [
    (stored(), Cluster(HERE, [pv()]), "erase-volume"),
    (stored(), Cluster(HERE, [pv(phase="Odd", claim="")]), "erase-volume"),
    (stored(), Cluster(HERE, [], [claim()]), "erase-claim"),
    (stored(), Cluster(HERE, [], [claim(uid="old", forgets=True)]), "erase-claim"),
    (stored(labels={names.RELEASED: "t"}), Cluster(HERE, [], [claim(uid="old")]), "erase-claim"),
    (stored(), Cluster(HERE, [], [claim("other", volume_name="pv")]), "erase-lost"),
    (stored(cluster=ELSEWHERE), Cluster(HERE), "erase-cluster"),
]
ALLOWED = [
    (stored(), Cluster(HERE)),
    (stored(), Cluster(HERE, [pv("other")], [claim(volume_name="other"), claim("x")])),
    (stored(), Cluster(HERE, [], [claim(forgets=True)])),
    (stored(labels={names.RELEASED: "t"}), Cluster(HERE, [], [claim()])),
    (stored(ready=False), Cluster(HERE)),
    (dataclasses.replace(stored(), holder={}), Cluster(HERE, [], [claim()])),
]


@pytest.mark.parametrize(("found", "cluster", "code"), REFUSED)
def test_what_an_object_a_claim_or_another_cluster_has_is_not_erased(
    found: Manifest, cluster: Cluster, code: str
) -> None:
    """Each has a reason of its own, which names the next step."""
    reason = against_erasing(found, [found], cluster)

    assert reason is not None
    assert reason.code == code
    assert "`" in reason.message or "delete" in reason.message or "--from-cluster" in reason.message


@pytest.mark.parametrize(("found", "cluster"), ALLOWED)
def test_bytes_that_nothing_has_may_be_erased_unless_they_are_in_use(found: Manifest, cluster: Cluster) -> None:
    """A mount is asked of the node itself."""
    assert against_erasing(found, [found], cluster) is None
    reason = against_erasing(found, [found], cluster, used_at="/mnt")
    assert reason is not None
    assert (reason.code, reason.actual) == ("erase-mounted", "/mnt")


def test_volumes_of_a_cluster_that_was_named_may_be_erased_and_those_of_a_copied_disk_never() -> None:
    """Of two copies nobody can tell which is meant."""
    found = stored(cluster=ELSEWHERE)

    assert against_erasing(found, [found], Cluster(HERE), from_cluster=ELSEWHERE) is None
    reason = against_erasing(found, [found, found], Cluster(HERE), from_cluster=ELSEWHERE)
    assert reason is not None
    assert reason.code == "erase-copied"


@given(
    cluster=st.sampled_from([HERE, ELSEWHERE, ""]),
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
def test_what_may_be_erased_is_listed_without_an_object_and_nothing_refers_to_it(
    cluster: str, volumes: list[VolumeSummary], claims: list[ClaimSummary], *, released: bool
) -> None:
    """The rule, the other way round: no claim names it, waits for it, or would adopt it."""
    found = stored(cluster=cluster, labels={names.RELEASED: "t"} if released else None)
    around = Cluster(HERE, volumes, claims)
    if against_erasing(found, [found], around) is not None:
        return

    assert cluster != ELSEWHERE
    assert next(each for each in stored_volumes([found], POOLS, around) if each.name == "pv").state is State.ORPHAN
    assert not any(each.volume_name == "pv" for each in claims)
    waiting = [each for each in claims if not each.volume_name and each.name == "www-web-0"]
    assert all(each.uid == "new" and (each.forgets or released) for each in waiting)


def test_an_object_or_a_claim_with_odd_fields_still_counts() -> None:
    """What cannot be read wholly must not look as if it were not there: its bytes would be erased."""
    spec = {"csi": {"driver": names.DRIVER, "volumeHandle": "h"}, "capacity": {"storage": "much"}, "nodeAffinity": []}
    odd = {"metadata": {"name": "pv"}, "spec": spec}

    assert VolumeSummary.of(odd) == VolumeSummary("pv", "h", capacity="much")
    assert VolumeSummary.of({"metadata": {"name": "pv"}}) is None
    assert ClaimSummary.of({"metadata": {"name": "c", "namespace": "n"}, "spec": None}) == ClaimSummary("n", "c", "")


def _deleted(at: int = 5, **more: Any) -> Manifest:
    return dataclasses.replace(stored(in_trash=True, **more), deleted=at)


@pytest.mark.parametrize(("found", "cluster", "code"), [(_deleted(), each[1], each[2]) for each in REFUSED[:4]])
def test_what_an_object_or_a_claim_counts_on_is_not_removed_from_the_trash(
    found: Manifest, cluster: Cluster, code: str
) -> None:
    """A claim that waits for it would get an empty volume instead."""
    reason = against_purging(found, [found], cluster)

    assert reason is not None
    assert reason.code == code


def test_an_older_entry_of_a_volume_that_lives_or_was_deleted_again_is_of_no_use() -> None:
    """Undelete takes the newest, and none while the volume lives; another cluster's stays all the same."""
    around = Cluster(HERE, [pv()], [claim(uid="old")])
    for newer in (stored(), _deleted(6)):
        assert against_purging(_deleted(), [_deleted(), newer], around) is None
    foreign = _deleted(cluster=ELSEWHERE)
    reason = against_purging(foreign, [foreign, stored()], around)
    assert reason is not None
    assert reason.code == "erase-cluster"
    assert against_purging(foreign, [foreign], Cluster(HERE), from_cluster=ELSEWHERE) is None
