"""The model of allowed bindings rejects wrong ones, and Mooring's own binder always conforms to it."""

import random

import pytest

from provisioner.model.claim import Claim
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume
from tests.cluster.matching_scenarios import allowed, ours, scenario
from tests.unit.provisioner.binding.objects import claim, volume


def test_only_equal_volumes_and_the_order_of_claims_allow_several_bindings() -> None:
    """The small claim gets either of the equal volumes, never the large one; a reservation by name is respected."""
    small, other = claim("small", uid="1"), claim("other", uid="2", size="2Gi")
    volumes = [volume("a"), volume("b"), volume("large", size="3Gi"), volume("reserved", ref="other", size="5Gi")]

    assert allowed([small, other], volumes) == {
        frozenset({("small", "a"), ("other", "reserved")}),
        frozenset({("small", "b"), ("other", "reserved")}),
    }


def test_either_of_two_claims_may_get_the_only_volume() -> None:
    """Both orders are possible; it is impossible that both claims get it, or none."""
    first, second = claim("first", uid="1"), claim("second", uid="2")

    assert allowed([first, second], [volume("only")]) == {
        frozenset({("first", "only")}),
        frozenset({("second", "only")}),
    }


def test_fewer_access_modes_are_preferred_to_a_smaller_size() -> None:
    """Upstream reads buckets with fewer access modes first, and those with equally many in any order."""
    modes = ("ReadWriteOnce", "ReadOnlyMany")
    wide, narrow = volume("wide", modes=modes), volume("narrow", size="3Gi")
    other = volume("other", modes=("ReadWriteOnce", "ReadWriteMany"), size="2Gi")

    assert allowed([claim()], [wide, narrow, other]) == {frozenset({("www-web-0", "narrow")})}
    assert allowed([claim()], [wide, other]) == {
        frozenset({("www-web-0", "wide")}),
        frozenset({("www-web-0", "other")}),
    }


@pytest.mark.parametrize("seed", range(300))
def test_the_bindings_of_moorings_binder_are_allowed(seed: int) -> None:
    """The scenarios are like those that kube-controller-manager binds."""
    found = scenario(random.Random(seed), name="w", namespace="default")  # noqa: S311 - no secret
    claims = [
        Claim.of(each | {"metadata": each["metadata"] | {"uid": each["metadata"]["name"]}}) for each in found.claims
    ]
    volumes = [
        Volume.of(
            each | {"status": {"phase": "Released" if each["spec"].get("claimRef", {}).get("uid") else "Available"}}
        )
        for each in found.volumes
    ]
    assert ours(claims, volumes, StorageClass.of(found.storage_class)) in allowed(claims, volumes)
