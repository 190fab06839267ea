"""Which volumes get their PersistentVolume again from their manifests, and which do not, with the reason."""

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
    """Return the manifest of a volume of a cluster whose database was lost."""
    found = manifest(name, **others)
    labels = {
        names.HOLDER_CLUSTER_UID: cluster,
        names.HOLDER_NAMESPACE_UID: namespace_uid,
        names.HOLDER_CLASS: "fast",
        names.HOLDER_ACCESS_MODES: "ReadWriteOnce",
    }
    return dataclasses.replace(found, holder={**found.holder, **labels})


def labelled(found: Manifest, **labels: str | None) -> Manifest:
    """Return the manifest with other owner labels, named as in `names`; None removes one."""
    changed = {**found.holder, **{getattr(names, key): value for key, value in labels.items()}}
    return dataclasses.replace(found, holder={key: value for key, value in changed.items() if value is not None})


def now(
    *volumes: Volume, namespaces: dict[str, str] | None = None, classes: tuple[str, ...] = ("fast",)
) -> Surroundings:
    """Return the new cluster."""
    return Surroundings(NEW, {"default": "is"} if namespaces is None else namespaces, classes, volumes)


def codes(*manifests: Manifest, present: Surroundings | None = None, **options: Any) -> dict[str, str]:
    """Return volume → the code of the reason against it, "" when it is recovered."""
    found = recover(manifests, present or now(), **{"cluster": OLD, **options})
    return {each.manifest.csi_name: each.reason.code if each.reason else "" for each in found}


def test_every_volume_of_the_named_cluster_is_recovered() -> None:
    """Volumes of other clusters are not; the UID of the namespace does not matter."""
    third = lost("c", cluster="third", claim_name="www-web-2")
    volumes = (lost("a"), lost("b", claim_name="www-web-1"), third)

    assert codes(*volumes) == {"a": "", "b": ""}
    assert codes(*volumes, cluster=None) == {"a": "", "b": "", "c": ""}, "without a cluster, all others are listed"
    assert codes(*volumes, cluster=NEW) == {}


def test_a_listing_includes_volumes_of_this_cluster_without_an_object() -> None:
    """It omits volumes that have an object, are being created or were deleted, unless this cluster is named."""
    own = [lost(name, cluster=NEW, namespace_uid="is", claim_name=name) for name in ("left", "present")]
    own += [lost("new", cluster=NEW, ready=False), lost("gone", cluster=NEW, in_trash=True)]
    present = now(volume("present", ref=("present", "old")))

    assert codes(*own, present=present, cluster=None) == {"left": ""}
    assert codes(*own, present=present) == {}
    assert codes(*own, present=present, cluster=NEW)["left"] == ""


NOT_RECOVERED = [
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


@pytest.mark.parametrize(("found", "present", "code"), NOT_RECOVERED)
def test_a_volume_that_is_not_recovered_has_a_reason(found: Manifest, present: Surroundings, code: str) -> None:
    """Every obstacle has a different reason, with a complete message."""
    (only,) = recover([found], present, cluster=OLD)
    assert only.reason is not None
    assert only.reason.code == code
    assert only.reason.message.startswith("volume pv: ")
    assert "{" not in only.reason.message


def test_of_two_volumes_of_one_claim_none_is_chosen_automatically() -> None:
    """Neither is recovered; when an admin chooses one, that one is."""
    both = (lost("a", since="2026-01-01"), lost("b", since="2026-01-02"))

    assert codes(*both) == {"a": "recover-several", "b": "recover-several"}
    assert codes(*both, chosen=["a"]) == {"a": "", "b": "recover-several"}
    assert codes(*both, cluster=None, chosen=["a"]) == {"a": ""}, (
        "without a cluster, only the chosen volumes are considered"
    )


def test_volumes_are_sorted_by_claim_and_name() -> None:
    """The order in which the pools are read does not matter; volumes of unknown owners come first."""
    sorted_ones = [
        labelled(lost("y", claim_name="x"), HOLDER_NAMESPACE=None),
        labelled(lost("x"), HOLDER_NAMESPACE="a", HOLDER_CLAIM=None),
        labelled(lost("z", claim_name="b"), HOLDER_NAMESPACE="a"),
        labelled(lost("y", claim_name="a"), HOLDER_NAMESPACE="b"),
        labelled(lost("b", claim_name="c"), HOLDER_NAMESPACE="b"),
        labelled(lost("c", claim_name="c"), HOLDER_NAMESPACE="b"),
    ]

    for manifests in itertools.permutations(sorted_ones):
        found = recover(manifests, now(), cluster=OLD)
        assert [each.manifest for each in found] == sorted_ones


def test_volumes_that_are_not_requested_still_raise_doubts() -> None:
    """A volume of this cluster may be the claim's last one, although only those of the lost cluster are recovered."""
    former, own, third = lost("a"), lost("b", cluster=NEW), lost("c", cluster="third")

    assert codes(former, own) == {"a": "recover-several"}
    assert codes(former, third) == {"a": ""}


def test_a_volume_of_an_unknown_cluster_belongs_to_no_named_cluster() -> None:
    """It is recovered when an admin gives an empty cluster, or names the volume."""
    unknown = labelled(lost(), HOLDER_CLUSTER_UID=None)

    assert codes(unknown, cluster=None) == codes(unknown, cluster="") == codes(unknown, chosen=["pv"]) == {"pv": ""}
    assert codes(unknown) == {}


def test_volumes_that_are_unfinished_or_in_the_trash_raise_no_doubt() -> None:
    """The first was never published, and the other was deleted; volumes listed after them are still checked."""
    others = (lost("b", ready=False), lost("c", in_trash=True))

    assert codes(*others, lost("a")) == {"a": "", "b": "recover-unfinished", "c": "recover-trash"}
    assert codes(*others, lost("a"), lost("d"))["a"] == "recover-several"


def test_namespaces_are_the_same_only_by_name_and_cluster() -> None:
    """Each cluster and each name has separate UIDs; a UID that was not recorded counts as another one."""
    first = lost("a", namespace_uid="1")
    second, third = (lost(name, namespace_uid="2", claim_name=name) for name in "bc")
    third_cluster = labelled(third, HOLDER_CLUSTER_UID="third")
    present = now(namespaces={"default": "is", "other": "is"})

    assert codes(first, third_cluster, cluster=None) == {"a": "", "c": ""}
    assert codes(first, labelled(second, HOLDER_NAMESPACE="other"), present=present) == {"a": "", "b": ""}
    assert codes(second, third) == {"b": "", "c": ""}
    assert codes(first, labelled(second, HOLDER_NAMESPACE_UID=None))["a"] == "recover-several-namespaces"


def test_a_volume_without_a_class_needs_none() -> None:
    """Its claim named no class, and was bound to it by name or by its capacity."""
    assert codes(labelled(lost(), HOLDER_CLASS=None), present=now(classes=())) == {"pv": ""}


def test_volumes_of_a_copied_disk_are_not_recovered() -> None:
    """Two nodes have the same handle, and either may have the older data, so naming the volume does not help."""
    assert codes(lost(), lost(), chosen=["pv"]) == {"pv": "recover-copied"}


def test_volumes_of_a_namespace_that_was_recreated_in_the_lost_cluster_need_a_decision() -> None:
    """Of two namespaces of one name, one may have belonged to another tenant."""
    first, second = lost("a", namespace_uid="1"), lost("b", namespace_uid="2", claim_name="www-web-1")

    assert codes(first, second) == {"a": "recover-several-namespaces", "b": "recover-several-namespaces"}
    assert codes(first, second, chosen=["b"])["b"] == ""


def test_in_the_same_cluster_only_volumes_of_the_same_namespace_are_recovered() -> None:
    """PersistentVolumes deleted by mistake are recovered, but not for a recreated namespace of the same name."""
    own, former = lost("a", cluster=NEW, namespace_uid="is"), lost("b", cluster=NEW, namespace_uid="was")

    assert codes(own, cluster=NEW) == {"a": ""}
    assert codes(former, cluster=NEW) == {"b": "recover-recreated-namespace"}


def test_a_released_volume_is_recovered_for_no_claim() -> None:
    """A released volume needs no namespace, and does not count as another volume of its claim."""
    released = labelled(lost("a"), RELEASED="2026-01-01T00:00:00Z")

    assert codes(released, present=now(namespaces={})) == {"a": ""}
    assert codes(released, lost("b")) == {"a": "", "b": ""}


def test_of_the_trash_only_the_newest_entry_is_recovered() -> None:
    """None is, where the volume exists outside of the trash."""
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
    """I1: without an admin's choice, at most one volume is recovered for a claim, and no handle twice."""
    recovered = [each.manifest for each in recover(manifests, now(), cluster=OLD) if each.reason is None]
    claims = [each.holder[names.HOLDER_CLAIM] for each in recovered]
    assert len(claims) == len(set(claims))
    assert all(each.handle.startswith(POOL) and each.ready and not each.in_trash for each in recovered)
