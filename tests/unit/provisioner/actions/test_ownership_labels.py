"""Who holds a volume, as labels."""

from collections.abc import Mapping

import grpc
import pytest

from provisioner.actions.ownership_labels import annotations_of, holder_labels
from provisioner.controllers.ownership import Ownership
from provisioner.drivers.client import DriverUnavailable
from provisioner.kube.control import Done, RequeueAfter
from provisioner.model.kinds import CLAIM, NAMESPACE, NODE, STATEFUL_SET, VOLUME
from provisioner.model.names import RECOVERED, RELEASED
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import POOL, claim, namespace, node, stateful_set, volume


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
    holders = Ownership(api, api.caches, drivers=FakeDriver())
    wakes = list(holders.watches()[STATEFUL_SET](stateful_set()))
    assert [("", "pvc-c1")] == wakes
    await holders.reconcile(wakes[0])
    assert "web" == api.all(VOLUME)[0]["metadata"]["annotations"]["mooring.dev/stateful-set"]
    other = stateful_set()
    other["metadata"]["name"] = "db"
    assert [] == list(holders.watches()[STATEFUL_SET](other))


class _Away(FakeDriver):
    """One that does not answer."""

    async def record_holder(self, handle: str, labels: Mapping[str, str]) -> None:
        raise DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message=f"no driver has {handle} for {labels}")


@pytest.mark.parametrize("mark", [RELEASED, RECOVERED])
async def test_a_mark_waits_for_its_disk_without_asking_all_the_time(mark: str) -> None:
    """A lost node may never come back; the Node that gets the disk wakes the volume, and no other does."""
    marked = volume(phase="Released")
    marked["metadata"]["annotations"][mark] = "2026-01-01T00:00:00Z"
    api = FakeApi((VOLUME, marked))
    holders = Ownership(api, api.caches, drivers=_Away())
    wakes = holders.watches()[NODE]
    result = await holders.reconcile(("", "pvc-c1"))
    assert isinstance(result, RequeueAfter)
    assert result.seconds >= 60
    assert [("", "pvc-c1")] == list(wakes(node(POOL)))
    assert [] == list(wakes(node("another")))


async def test_a_bound_volume_is_told_soon() -> None:
    """Its driver was there a moment ago; its Node has no news when only the driver restarts."""
    bound = claim(phase="Bound", volumeName="pvc-c1")
    api = FakeApi((NAMESPACE, namespace()), (CLAIM, bound), (VOLUME, volume()), (STATEFUL_SET, stateful_set()))
    holders = Ownership(api, api.caches, drivers=_Away())
    assert Done() == await holders.reconcile(("", "pvc-c1"))  # the annotations come first
    result = await holders.reconcile(("", "pvc-c1"))
    assert isinstance(result, RequeueAfter)
    assert result.seconds <= 1
