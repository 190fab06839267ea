"""Who holds a volume, as labels."""

from provisioner.controllers.holders import Holders
from provisioner.controllers.holding import annotations_of, holder_labels
from provisioner.model.kinds import CLAIM, NAMESPACE, STATEFUL_SET, VOLUME
from tests.unit.controllers.fake_api import FakeApi
from tests.unit.controllers.fake_driver import FakeDriver
from tests.unit.controllers.objects import claim, namespace, stateful_set, volume


def _labels(*, sets: bool, before: dict[str, str]) -> dict[str, str]:
    return holder_labels(
        claim(),
        namespace_uid="n1",
        cluster_uid="k",
        sets=[stateful_set()] if sets else [],
        before=before,
        policy="Retain",
    )


def test_an_ordinal_is_named_by_its_set() -> None:
    """The set that makes the claim's name gives template and ordinal; no name is taken apart."""
    labels = _labels(sets=True, before={})
    assert {
        "mooring.dev/cluster-uid": "k",
        "mooring.dev/namespace": "default",
        "mooring.dev/namespace-uid": "n1",
        "mooring.dev/claim": "www-web-0",
        "mooring.dev/claim-uid": "c1",
        "mooring.dev/template": "www",
        "mooring.dev/stateful-set": "web",
        "mooring.dev/ordinal": "0",
        "mooring.dev/reclaim-policy": "Retain",
        "mooring.dev/storage-class": "mooring-directory",
        "mooring.dev/access-modes": "ReadWriteOnce",
    } == labels


def test_a_claim_that_outlives_its_set_stays_its_ordinal() -> None:
    """What was written while the set existed is kept after it is gone."""
    before = volume()["metadata"]["annotations"]
    assert "web" == _labels(sets=False, before=before)["mooring.dev/stateful-set"]


def test_notes_of_another_claim_are_dropped() -> None:
    """An ordinal noted for another claim's name does not stick to this one."""
    before = volume()["metadata"]["annotations"] | {"mooring.dev/ordinal": "1"}
    labels = _labels(sets=False, before=before)
    assert "mooring.dev/ordinal" not in labels
    assert None is annotations_of(labels)["mooring.dev/ordinal"]


async def test_a_set_that_comes_after_its_claim_makes_it_an_ordinal() -> None:
    """I2: a claim that was bound before its set existed is the set's ordinal from then on, and its volume says so."""
    held = volume()
    held["metadata"]["annotations"] = {}
    bound = claim(phase="Bound", volumeName="pvc-c1")
    api = FakeApi((NAMESPACE, namespace()), (CLAIM, bound), (VOLUME, held), (STATEFUL_SET, stateful_set()))
    holders = Holders(api, api.caches, router=FakeDriver())
    wakes = list(holders.watches()[STATEFUL_SET](stateful_set()))
    assert [("", "pvc-c1")] == wakes
    await holders.reconcile(wakes[0])
    assert "web" == api.all(VOLUME)[0]["metadata"]["annotations"]["mooring.dev/stateful-set"]
    other = stateful_set()
    other["metadata"]["name"] = "db"
    assert [] == list(holders.watches()[STATEFUL_SET](other))
