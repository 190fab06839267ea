"""What people read when they ask why."""

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


def test_a_claim_that_fits_nothing_hears_of_its_nearest_miss_first() -> None:
    """The volume that failed the latest check is the most useful one to know."""
    volumes = (volume("taken", ref="other"), volume("small", size="1Mi"), volume("slow", cls="slow"))
    found = explain_claim(Facts(claim(cls=""), Index(volumes)))

    assert [reason.volume for reason in found.rejected] == ["slow", "small", "taken"]
    assert found.rejected[1].message == "volume small: its capacity is 1Mi, less than the requested 1Gi"
    assert not found.healthy


def test_every_check_of_the_matcher_has_a_place_in_the_order_of_misses() -> None:
    """A check without a place would make explain fail just when it is needed."""
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


def test_a_bound_claim_tells_its_volume_and_what_that_is() -> None:
    """Nothing is wrong, and the answer says where the data is."""
    mine = volume(ref=("www-web-0", "new"), phase="Bound")
    found = explain_claim(Facts(claim(bound=True, volume="pv", phase="Bound"), Index([mine]), storage_class()))

    assert (True, "it is bound to volume pv (1Gi)", ()) == (found.healthy, found.message, found.rejected)


def test_a_bound_claim_tells_that_its_node_is_gone() -> None:
    """With the code that scripts rely on, and what will come."""
    notes = {LAST_NODE: "n1/uid", LOST_SINCE: "2026-01-01T00:00:00Z"}
    mine = dataclasses.replace(volume(ref=("www-web-0", "new"), phase="Bound"), annotations=notes)
    found = explain_claim(Facts(claim(bound=True, volume="pv", phase="Bound"), Index([mine]), storage_class()))

    assert (False, ["node-lost"]) == (found.healthy, [each.code for each in found.reasons])
    assert "node n1, which has its volume, has been lost since 2026-01-01T00:00:00Z" in found.message


def test_a_volume_that_was_let_go_is_not_said_to_be_doomed() -> None:
    """Whatever its policy: it is kept until somebody deletes it."""
    doomed = volume(ref=("www-web-0", "old"), phase="Released", policy="Delete")
    kept = dataclasses.replace(doomed, annotations={RELEASED: "2026-01-01T00:00:00Z"})

    assert "its data is retained until the volume is deleted" in explain_volume(kept, claim=None).message


def test_a_released_volume_tells_whose_it_was_and_what_becomes_of_it() -> None:
    """Kept for its ordinal, kept for nobody, or on its way to the trash."""
    gone = ("www-web-0", "old")
    kept = explain_volume(volume(ref=gone, phase="Released", ordinal="web-0"), claim=None)
    doomed = explain_volume(volume(ref=gone, phase="Released", policy="Delete"), claim=None)
    other = explain_volume(volume(ref=gone, phase="Released"), claim=claim())

    assert kept.message == (
        "its claim default/www-web-0 was deleted; its data is retained, and ordinal web-0 adopts it when its claim is recreated"
    )
    assert (True, False) == (kept.healthy, doomed.healthy)
    assert "is moved to the trash" in doomed.message
    assert "is another one (UID new)" in other.message


def test_what_a_volume_does_not_tell_is_not_made_up() -> None:
    """Neither that its size is enforced, nor which pool has it, nor an ordinal of no set."""
    bare = dataclasses.replace(volume(), volume_attributes={"mooring.dev/backend": "loop"})
    setless, gone = {names.ORDINAL: "0"}, volume(ref=("www-web-0", "old"), phase="Released")

    assert explain_volume(bare, claim=None).message.endswith("may be bound to it (1Gi, loop)")
    fate = explain_volume(dataclasses.replace(gone, annotations=setless), claim=None).message
    assert fate == "its claim default/www-web-0 was deleted; its data is retained"


def test_a_pod_tells_which_claim_it_waits_for() -> None:
    """The first that is not well, with that one's own reason."""
    waiting = explain_claim(Facts(claim(), Index(), storage_class()))

    assert "it waits for claim default/www-web-0" in explain_pod(pod(), claims=[waiting]).message
    assert "does not exist; create it" in explain_pod(pod(), claims=[], missing=["www-web-0"]).message
    mounted = explain_pod(pod(node_name="n1", ready=True), claims=[])
    assert (True, "its 1 volume(s) are mounted on node n1") == (mounted.healthy, mounted.message)


def test_a_new_volume_goes_where_most_room_is_left() -> None:
    """Pools that are unwell, lack the backend or have another name do not count."""
    gib = 1 << 30
    pools = [
        Pool("1", "a", "n1", 10 * gib, 5 * gib, ("directory",)),
        Pool("2", "b", "n2", 10 * gib, 7 * gib, ("directory", "loop")),
        Pool("3", "c", "n3", 10 * gib, 9 * gib, ("directory", "loop"), problem="its disk is away"),
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
    Pool("2", "b", "n2", 10, 5, ("directory",), problem="its disk is away"),
]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (ClassParameters(pool="c"), Reason("pool-unknown", requested="c", actual="a, b")),
        (ClassParameters(pool="b"), Reason("pool-unusable", actual="b on n2: its disk is away")),
        (ClassParameters(backend="loop"), Reason("pool-backend", requested="loop", actual="directory")),
        (ClassParameters(), Reason("pool-full", requested="1Gi", actual="5")),
    ],
)
def test_where_no_pool_is_found_the_condition_that_none_meets_is_named(
    parameters: ClassParameters, expected: Reason
) -> None:
    """A pool that does not exist, cannot be used or lacks the backend is not said to be full."""
    assert place(Quantity.parse("1Gi"), parameters=parameters, pools=POOLS) == expected


def test_of_pools_with_as_much_room_the_first_by_node_and_name_is_taken() -> None:
    """The order in which pools are known changes nothing."""
    equal = [Pool("1", name, node, 10, 5, ("directory",)) for node, name in (("n1", "b"), ("n2", "a"), ("n1", "c"))]

    for pools in itertools.permutations(equal):
        assert place(Quantity.parse("1"), parameters=ClassParameters(), pools=pools) == equal[0]
