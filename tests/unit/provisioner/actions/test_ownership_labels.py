"""The owner record of a volume, as labels."""

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


def test_template_and_ordinal_come_from_the_set() -> None:
    """The StatefulSet that creates the claim's name has both; the name is not parsed."""
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


def test_a_claim_whose_set_was_deleted_stays_an_ordinal() -> None:
    """Annotations that were written while the set existed are kept."""
    before = volume()["metadata"]["annotations"]
    assert "web" == _labels(sets=False, before=before)["mooring.dev/stateful-set"]


def test_annotations_of_another_claim_are_removed() -> None:
    """An ordinal that was recorded for another claim's name is not used for this one."""
    before = volume()["metadata"]["annotations"] | {"mooring.dev/ordinal": "1"}
    labels = _labels(sets=False, before=before)
    assert "mooring.dev/ordinal" not in labels
    assert None is annotations_of(labels)["mooring.dev/ordinal"]


async def test_a_set_that_is_created_after_its_claim_makes_it_an_ordinal() -> None:
    """
    I2: a claim that was bound before its set existed is an ordinal of the set from then on.

    Its volume records it.
    """
    pv = volume()
    pv["metadata"]["annotations"] = {}
    bound = claim(phase="Bound", volumeName="pvc-c1")
    api = FakeApi((NAMESPACE, namespace()), (CLAIM, bound), (VOLUME, pv), (STATEFUL_SET, stateful_set()))
    controller = Ownership(api, api.caches, drivers=FakeDriver())
    keys = list(controller.watches()[STATEFUL_SET](stateful_set()))
    assert [("", "pvc-c1")] == keys
    await controller.reconcile(keys[0])
    assert "web" == api.all(VOLUME)[0]["metadata"]["annotations"]["mooring.dev/stateful-set"]
    other = stateful_set()
    other["metadata"]["name"] = "db"
    assert [] == list(controller.watches()[STATEFUL_SET](other))


class _Unavailable(FakeDriver):
    """A driver that is unavailable."""

    async def record_holder(self, handle: str, labels: Mapping[str, str]) -> None:
        raise DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message=f"no driver has {handle} for {labels}")


@pytest.mark.parametrize("mark", [RELEASED, RECOVERED])
async def test_a_released_volume_of_an_unavailable_disk_is_retried_slowly(mark: str) -> None:
    """A lost node may never return; only the Node that gets the disk triggers the volume."""
    released = volume(phase="Released")
    released["metadata"]["annotations"][mark] = "2026-01-01T00:00:00Z"
    api = FakeApi((VOLUME, released))
    controller = Ownership(api, api.caches, drivers=_Unavailable())
    keys = controller.watches()[NODE]
    result = await controller.reconcile(("", "pvc-c1"))
    assert isinstance(result, RequeueAfter)
    assert result.seconds >= 60
    assert [("", "pvc-c1")] == list(keys(node(POOL)))
    assert [] == list(keys(node("another")))


async def test_the_owner_of_a_bound_volume_is_recorded_soon() -> None:
    """Its driver was available a moment ago; its Node does not change when only the driver restarts."""
    bound = claim(phase="Bound", volumeName="pvc-c1")
    api = FakeApi((NAMESPACE, namespace()), (CLAIM, bound), (VOLUME, volume()), (STATEFUL_SET, stateful_set()))
    controller = Ownership(api, api.caches, drivers=_Unavailable())
    assert Done() == await controller.reconcile(("", "pvc-c1"))  # the annotations come first
    result = await controller.reconcile(("", "pvc-c1"))
    assert isinstance(result, RequeueAfter)
    assert result.seconds <= 1
