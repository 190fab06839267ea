"""The model that judges kube-controller-manager can say no, and our own binder always passes it."""

import random

import pytest

from provisioner.model.claim import Claim
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume
from tests.cluster.matching_worlds import allowed, ours, world
from tests.unit.provisioner.binding.objects import claim, volume


def test_equal_volumes_and_the_order_of_claims_are_all_the_freedom_there_is() -> None:
    """The small claim gets either of the equal volumes, never the large one; a reservation by name is kept."""
    small, other = claim("small", uid="1"), claim("other", uid="2", size="2Gi")
    volumes = [volume("a"), volume("b"), volume("large", size="3Gi"), volume("kept", ref="other", size="5Gi")]

    assert allowed([small, other], volumes) == {
        frozenset({("small", "a"), ("other", "kept")}),
        frozenset({("small", "b"), ("other", "kept")}),
    }


def test_who_comes_first_may_get_the_only_volume() -> None:
    """Both orders are possible, and that both get it, or none, is not."""
    first, second = claim("first", uid="1"), claim("second", uid="2")

    assert allowed([first, second], [volume("only")]) == {
        frozenset({("first", "only")}),
        frozenset({("second", "only")}),
    }


def test_fewer_access_modes_come_before_a_smaller_size() -> None:
    """Upstream looks through buckets of access modes, and of two with as many modes through either first."""
    modes = ("ReadWriteOnce", "ReadOnlyMany")
    wide, narrow = volume("wide", modes=modes), volume("narrow", size="3Gi")
    other = volume("other", modes=("ReadWriteOnce", "ReadWriteMany"), size="2Gi")

    assert allowed([claim()], [wide, narrow, other]) == {frozenset({("www-web-0", "narrow")})}
    assert allowed([claim()], [wide, other]) == {
        frozenset({("www-web-0", "wide")}),
        frozenset({("www-web-0", "other")}),
    }


@pytest.mark.parametrize("seed", range(300))
def test_our_own_pairing_is_among_those_allowed(seed: int) -> None:
    """In worlds like those that kube-controller-manager binds."""
    made = world(random.Random(seed), name="w", namespace="default")  # noqa: S311 - no secret
    claims = [
        Claim.of(each | {"metadata": each["metadata"] | {"uid": each["metadata"]["name"]}}) for each in made.claims
    ]
    volumes = [
        Volume.of(
            each | {"status": {"phase": "Released" if each["spec"].get("claimRef", {}).get("uid") else "Available"}}
        )
        for each in made.volumes
    ]
    assert ours(claims, volumes, StorageClass.of(made.storage_class)) in allowed(claims, volumes)
