"""Which volumes get their objects back from their pools, and which are left with a reason."""

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.binding.lifecycle.recover import Surroundings, recover
from provisioner.model import names
from provisioner.model.inventory import Manifest
from provisioner.model.volume import Volume
from tests.unit.provisioner.binding.objects import POOL, manifest, volume

OLD, NEW = "old-cluster", "new-cluster"


def lost(name: str = "pv", *, cluster: str = OLD, namespace_uid: str = "was", **others: Any) -> Manifest:
    """A volume of a cluster whose database is gone."""
    made = manifest(name, **others)
    told = {
        names.HOLDER_CLUSTER_UID: cluster,
        names.HOLDER_NAMESPACE_UID: namespace_uid,
        names.HOLDER_CLASS: "fast",
        names.HOLDER_ACCESS_MODES: "ReadWriteOnce",
    }
    return dataclasses.replace(made, holder={**made.holder, **told})


def labelled(found: Manifest, **labels: str | None) -> Manifest:
    """The same with other holder labels, named as in `names`; None takes one away."""
    changed = {**found.holder, **{getattr(names, key): value for key, value in labels.items()}}
    return dataclasses.replace(found, holder={key: value for key, value in changed.items() if value is not None})


def now(
    *volumes: Volume, namespaces: dict[str, str] | None = None, classes: tuple[str, ...] = ("fast",)
) -> Surroundings:
    """The new cluster."""
    return Surroundings(NEW, {"default": "is"} if namespaces is None else namespaces, classes, volumes)


def codes(*manifests: Manifest, here: Surroundings | None = None, **options: Any) -> dict[str, str]:
    """Volume → the code of what stands against it, "" when it is restored."""
    found = recover(manifests, here or now(), **{"cluster": OLD, **options})
    return {each.manifest.csi_name: each.reason.code if each.reason else "" for each in found}


def test_pools_alone_give_back_every_volume() -> None:
    """Each volume of the cluster that is named comes back, whatever its namespace's UID was, and no other's."""
    theirs = lost("c", cluster="third", claim_name="www-web-2")
    both = (lost("a"), lost("b", claim_name="www-web-1"), theirs)

    assert codes(*both) == {"a": "", "b": ""}
    assert codes(*both, cluster=None) == {"a": "", "b": "", "c": ""}, "a look shows those of every other cluster"
    assert codes(*both, cluster=NEW) == {}


def test_a_look_also_shows_volumes_of_this_cluster_that_have_no_object() -> None:
    """But not what has one, is being created or was deleted; and only the cluster's own name restores all of them."""
    mine = [lost(name, cluster=NEW, namespace_uid="is", claim_name=name) for name in ("left", "there")]
    mine += [lost("new", cluster=NEW, ready=False), lost("gone", cluster=NEW, in_trash=True)]
    here = now(volume("there", ref=("there", "old")))

    assert codes(*mine, here=here, cluster=None) == {"left": ""}
    assert codes(*mine, here=here) == {}
    assert codes(*mine, here=here, cluster=NEW)["left"] == ""


LEFT = [
    (lost(), now(volume("pv", ref=("www-web-0", "old"))), "recover-exists"),
    (lost(ready=False), now(), "recover-unfinished"),
    (labelled(lost(), HOLDER_CLAIM=None), now(), "recover-no-owner"),
    (labelled(lost(), HOLDER_NAMESPACE=None), now(), "recover-no-owner"),
    (lost(), now(volume("pv", driver="other.example.com")), "recover-name"),
    (labelled(lost(), HOLDER_ACCESS_MODES=None), now(), "recover-modes"),
    (lost(), now(classes=()), "recover-class"),
    (lost(), now(namespaces={}), "recover-namespace"),
    (lost(in_trash=True), now(), "recover-trash"),
    (lost(), now(volume("new", ref=("www-web-0", "new"))), "recover-several"),
]


@pytest.mark.parametrize(("found", "here", "code"), LEFT)
def test_what_is_left_says_why(found: Manifest, here: Surroundings, code: str) -> None:
    """Every obstacle has its own reason, and its sentence can be read."""
    (only,) = recover([found], here, cluster=OLD)
    assert only.reason is not None
    assert only.reason.code == code
    assert only.reason.message.startswith("volume pv: ")
    assert "{" not in only.reason.message


def test_two_volumes_of_one_claim_are_never_guessed_between() -> None:
    """Both are left, and choosing one restores that one and leaves the other."""
    both = (lost("a", since="2026-01-01"), lost("b", since="2026-01-02"))

    assert codes(*both) == {"a": "recover-several", "b": "recover-several"}
    assert codes(*both, chosen=["a"]) == {"a": "", "b": "recover-several"}
    assert codes(*both, cluster=None, chosen=["a"]) == {"a": ""}, "chosen alone, nothing else is meant"


def test_volumes_are_told_of_by_claim_and_name() -> None:
    """In whatever order the pools are read, the list is the same; what nobody is known to have had comes first."""
    sorted_ones = [
        labelled(lost("y", claim_name="x"), HOLDER_NAMESPACE=None),
        labelled(lost("x"), HOLDER_NAMESPACE="a", HOLDER_CLAIM=None),
        labelled(lost("z", claim_name="b"), HOLDER_NAMESPACE="a"),
        labelled(lost("y", claim_name="a"), HOLDER_NAMESPACE="b"),
        labelled(lost("b", claim_name="c"), HOLDER_NAMESPACE="b"),
        labelled(lost("c", claim_name="c"), HOLDER_NAMESPACE="b"),
    ]

    for manifests in itertools.permutations(sorted_ones):
        told = recover(manifests, now(), cluster=OLD)
        assert [each.manifest for each in told] == sorted_ones


def test_what_is_not_asked_for_still_raises_doubts() -> None:
    """This cluster's own volume of the claim may be the later one, although only the lost cluster's are recovered."""
    theirs, mine, third = lost("a"), lost("b", cluster=NEW), lost("c", cluster="third")

    assert codes(theirs, mine) == {"a": "recover-several"}
    assert codes(theirs, third) == {"a": ""}


def test_a_volume_of_an_unknown_cluster_is_shown_and_not_taken_for_anothers() -> None:
    """It comes back when somebody says that the cluster is none, or names the volume."""
    unknown = labelled(lost(), HOLDER_CLUSTER_UID=None)

    assert codes(unknown, cluster=None) == codes(unknown, cluster="") == codes(unknown, chosen=["pv"]) == {"pv": ""}
    assert codes(unknown) == {}


def test_what_was_never_finished_or_lies_in_the_trash_raises_no_doubt() -> None:
    """Nobody can have written into the one, and somebody gave up the other; what comes after them is looked at."""
    others = (lost("b", ready=False), lost("c", in_trash=True))

    assert codes(*others, lost("a")) == {"a": "", "b": "recover-unfinished", "c": "recover-trash"}
    assert codes(*others, lost("a"), lost("d"))["a"] == "recover-several"


def test_namespaces_are_the_same_only_by_name_and_cluster() -> None:
    """Each cluster, and each name, has UIDs of its own; a UID that was never written down is one more."""
    first = lost("a", namespace_uid="1")
    second, third = (lost(name, namespace_uid="2", claim_name=name) for name in "bc")
    far = labelled(third, HOLDER_CLUSTER_UID="third")
    here = now(namespaces={"default": "is", "other": "is"})

    assert codes(first, far, cluster=None) == {"a": "", "c": ""}
    assert codes(first, labelled(second, HOLDER_NAMESPACE="other"), here=here) == {"a": "", "b": ""}
    assert codes(second, third) == {"b": "", "c": ""}
    assert codes(first, labelled(second, HOLDER_NAMESPACE_UID=None))["a"] == "recover-several-namespaces"


def test_a_volume_without_a_class_needs_none() -> None:
    """The claim named no class, and was bound by hand or by its size."""
    assert codes(labelled(lost(), HOLDER_CLASS=None), here=now(classes=())) == {"pv": ""}


def test_a_disk_and_its_copy_are_left() -> None:
    """The same handle on two nodes: whichever were taken might be the older state, so that no word helps."""
    assert codes(lost(), lost(), chosen=["pv"]) == {"pv": "recover-copied"}


def test_a_namespace_made_anew_in_the_lost_cluster_is_asked_about() -> None:
    """Of two namespaces of one name, one belonged to somebody else."""
    first, second = lost("a", namespace_uid="1"), lost("b", namespace_uid="2", claim_name="www-web-1")

    assert codes(first, second) == {"a": "recover-several-namespaces", "b": "recover-several-namespaces"}
    assert codes(first, second, chosen=["b"])["b"] == ""


def test_in_the_same_cluster_only_the_same_namespace_counts() -> None:
    """Objects that were deleted by mistake come back, and a stranger's namespace of the same name gets nothing."""
    mine, strangers = lost("a", cluster=NEW, namespace_uid="is"), lost("b", cluster=NEW, namespace_uid="was")

    assert codes(mine, cluster=NEW) == {"a": ""}
    assert codes(strangers, cluster=NEW) == {"b": "recover-recreated-namespace"}


def test_what_was_let_go_comes_back_to_nobody() -> None:
    """A released volume needs no namespace, and does not count as another volume of its claim."""
    released = labelled(lost("a"), RELEASED="2026-01-01T00:00:00Z")

    assert codes(released, here=now(namespaces={})) == {"a": ""}
    assert codes(released, lost("b")) == {"a": "", "b": ""}


def test_of_the_trash_only_the_newest_counts() -> None:
    """And none where the volume lives."""
    older, newer = lost(in_trash=True, since="1"), lost(in_trash=True, since="2")
    (only,) = recover([newer, older], now(), cluster=OLD, chosen=["pv"])
    assert (only.manifest, only.reason) == (newer, None)
    assert codes(lost(), newer) == {"pv": ""}


@given(
    st.lists(
        st.builds(
            lost,
            st.sampled_from("abcd"),
            claim_name=st.sampled_from(["www-web-0", "www-web-1"]),
            namespace_uid=st.sampled_from(["1", "2"]),
            cluster=st.sampled_from([OLD, NEW]),
            in_trash=st.booleans(),
            ready=st.booleans(),
        ),
        max_size=6,
    )
)
def test_no_claim_gets_two_volumes(manifests: list[Manifest]) -> None:
    """I1: without anybody's choice, at most one volume is restored for a claim, and never one handle twice."""
    restored = [each.manifest for each in recover(manifests, now(), cluster=OLD) if each.reason is None]
    claims = [each.holder[names.HOLDER_CLAIM] for each in restored]
    assert len(claims) == len(set(claims))
    assert all(each.handle.startswith(POOL) and each.ready and not each.in_trash for each in restored)
