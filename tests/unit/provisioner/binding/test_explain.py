"""Explanations of claims, volumes and pods, and the choice of a pool."""

import dataclasses
import itertools

import pytest

from provisioner.binding.decision import Reason
from provisioner.binding.explain import NEAREST_FIRST, explain_claim, explain_volume
from provisioner.binding.explain_pod import explain_pod
from provisioner.binding.facts import Facts
from provisioner.binding.matching.index import Index
from provisioner.binding.matching.place import place
from provisioner.model import names
from provisioner.model.inventory import Pool
from provisioner.model.names import LAST_NODE, LOST_SINCE, RELEASED
from provisioner.model.quantity import Quantity
from provisioner.model.storage_class import ClassParameters
from tests.unit.provisioner.binding.objects import claim, pod, storage_class, volume


def test_the_volume_nearest_to_fitting_is_reported_first() -> None:
    """The volume that failed the latest check is the nearest to fitting."""
    volumes = (volume("taken", ref="other"), volume("small", size="1Mi"), volume("slow", cls="slow"))
    found = explain_claim(Facts(claim(cls=""), Index(volumes)))

    assert [reason.volume for reason in found.rejected] == ["slow", "small", "taken"]
    assert found.rejected[1].message == "volume small: its capacity is 1Mi, less than the requested 1Gi"
    assert not found.healthy


def test_every_check_of_the_matcher_is_in_the_order_of_rejected_volumes() -> None:
    """A check that is missing there would make explain fail."""
    codes = {
        "taken-by-sibling",
        "other-claim",
        "former-claim",
        "capacity",
        "volume-mode",
        "attributes-class",
        "deleting",
    }
    codes |= {"affinity", "waits-for-consumer", "phase", "selector", "class", "access-modes"}

    assert codes == set(NEAREST_FIRST)


def test_a_bound_claim_is_explained_with_its_volume() -> None:
    """It is healthy, and the message names the volume and its capacity."""
    own = volume(ref=("www-web-0", "new"), phase="Bound")
    found = explain_claim(Facts(claim(bound=True, volume="pv", phase="Bound"), Index([own]), storage_class()))

    assert (True, "it is bound to volume pv (1Gi)", ()) == (found.healthy, found.message, found.rejected)


def test_a_bound_claim_whose_node_is_lost_is_unhealthy() -> None:
    """It has the reason code that scripts rely on, and a message about the next steps."""
    annotations = {LAST_NODE: "n1/uid", LOST_SINCE: "2026-01-01T00:00:00Z"}
    own = dataclasses.replace(volume(ref=("www-web-0", "new"), phase="Bound"), annotations=annotations)
    found = explain_claim(Facts(claim(bound=True, volume="pv", phase="Bound"), Index([own]), storage_class()))

    assert (False, ["node-lost"]) == (found.healthy, [each.code for each in found.reasons])
    assert "node n1, which has its volume, has been lost since 2026-01-01T00:00:00Z" in found.message


def test_a_released_volume_is_not_reported_to_be_deleted() -> None:
    """Whatever its policy is, it is retained until an admin deletes it."""
    former = volume(ref=("www-web-0", "old"), phase="Released", policy="Delete")
    released = dataclasses.replace(former, annotations={RELEASED: "2026-01-01T00:00:00Z"})

    assert "its data is retained until the volume is deleted" in explain_volume(released, claim=None).message


def test_a_volume_of_a_deleted_claim_is_explained_with_its_owner_and_outcome() -> None:
    """It is retained for its ordinal, retained for no claim, or moved to the trash."""
    former = ("www-web-0", "old")
    retained = explain_volume(volume(ref=former, phase="Released", ordinal="web-0"), claim=None)
    deleted = explain_volume(volume(ref=former, phase="Released", policy="Delete"), claim=None)
    other = explain_volume(volume(ref=former, phase="Released"), claim=claim())

    assert retained.message == (
        "its claim default/www-web-0 was deleted; its data is retained, and ordinal web-0 adopts it when its claim is recreated"
    )
    assert (True, False) == (retained.healthy, deleted.healthy)
    assert "is moved to the trash" in deleted.message
    assert "is another one (UID new)" in other.message


def test_facts_that_a_volume_does_not_record_are_omitted() -> None:
    """The message has no enforcement of the size, no pool, and no ordinal without a StatefulSet."""
    bare = dataclasses.replace(volume(), volume_attributes={"mooring.dev/backend": "loop"})
    without_set, former = {names.ORDINAL: "0"}, volume(ref=("www-web-0", "old"), phase="Released")

    assert explain_volume(bare, claim=None).message.endswith("may be bound to it (1Gi, loop)")
    message = explain_volume(dataclasses.replace(former, annotations=without_set), claim=None).message
    assert message == "its claim default/www-web-0 was deleted; its data is retained"


def test_a_waiting_pod_is_explained_with_its_claim() -> None:
    """The message has the first unhealthy claim, and the reason of that claim."""
    waiting = explain_claim(Facts(claim(), Index(), storage_class()))

    assert "it waits for claim default/www-web-0" in explain_pod(pod(), claims=[waiting]).message
    assert "does not exist; create it" in explain_pod(pod(), claims=[], missing=["www-web-0"]).message
    mounted = explain_pod(pod(node_name="n1", ready=True), claims=[])
    assert (True, "its 1 volume(s) are mounted on node n1") == (mounted.healthy, mounted.message)


def test_a_new_volume_is_provisioned_in_the_pool_with_the_most_free_capacity() -> None:
    """Pools that are unhealthy, lack the backend or have another name are not eligible."""
    gib = 1 << 30
    pools = [
        Pool("1", "a", "n1", 10 * gib, 5 * gib, ("directory",)),
        Pool("2", "b", "n2", 10 * gib, 7 * gib, ("directory", "loop")),
        Pool("3", "c", "n3", 10 * gib, 9 * gib, ("directory", "loop"), problem="its disk is not mounted"),
    ]
    size = Quantity.parse("1Gi")

    assert place(size, parameters=ClassParameters(), pools=pools) == pools[1]
    assert place(Quantity.parse("7Gi"), parameters=ClassParameters(), pools=pools) == pools[1], "it just fits"
    assert place(size, parameters=ClassParameters(pool="a"), pools=pools) == pools[0]
    assert place(Quantity.parse("8Gi"), parameters=ClassParameters(), pools=pools) == Reason(
        "pool-full", requested="8Gi", actual="7Gi"
    )
    assert place(size, parameters=ClassParameters(), pools=[]) == Reason("pool-none")


POOLS = [
    Pool("1", "a", "n1", 10, 5, ("directory",)),
    Pool("2", "b", "n2", 10, 5, ("directory",), problem="its disk is not mounted"),
]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (ClassParameters(pool="c"), Reason("pool-unknown", requested="c", actual="a, b")),
        (ClassParameters(pool="b"), Reason("pool-unusable", actual="b on n2: its disk is not mounted")),
        (ClassParameters(backend="loop"), Reason("pool-backend", requested="loop", actual="directory")),
        (ClassParameters(), Reason("pool-full", requested="1Gi", actual="5")),
    ],
)
def test_without_an_eligible_pool_the_reason_is_the_condition_that_none_meets(
    parameters: ClassParameters, expected: Reason
) -> None:
    """A pool that does not exist, cannot be used or lacks the backend is not reported as full."""
    assert place(Quantity.parse("1Gi"), parameters=parameters, pools=POOLS) == expected


def test_of_pools_with_equal_free_capacity_the_first_by_node_and_name_is_chosen() -> None:
    """The order in which the pools are given does not matter."""
    equal = [Pool("1", name, node, 10, 5, ("directory",)) for node, name in (("n1", "b"), ("n2", "a"), ("n1", "c"))]

    for pools in itertools.permutations(equal):
        assert place(Quantity.parse("1"), parameters=ClassParameters(), pools=pools) == equal[0]
