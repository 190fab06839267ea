"""Claims that are rescheduled, and claims that wait instead."""

import grpc
import pytest

from provisioner.controllers.claims import Claims
from provisioner.drivers.client import DriverUnavailable, RpcError
from provisioner.kube.control import RequeueAfter
from provisioner.model.kinds import CLAIM, NAMESPACE, NODE, POD, STATEFUL_SET, STORAGE_CLASS, VOLUME, Json, Kind
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import POOL, claim, namespace, node, stateful_set, storage_class, volume

SELECTED = "volume.kubernetes.io/selected-node"
KEY = ("default", "www-web-0")
OTHER = "8f9f6a52-5d53-4d3f-8ac5-70f3ad2c4a22"


def _scheduled(on: str = "n") -> Json:
    found = claim()
    found["metadata"]["annotations"] = {
        SELECTED: on,
        "volume.kubernetes.io/storage-provisioner": "csi.mooring.dev",
    }
    return found


def _api(*objects: tuple[Kind, Json], on: str = "n", pools: tuple[str, ...] = (POOL,)) -> FakeApi:
    return FakeApi(
        (CLAIM, _scheduled(on)),
        (NAMESPACE, namespace()),
        (NODE, node(*pools)),
        (STORAGE_CLASS, storage_class()),
        (STATEFUL_SET, stateful_set()),
        *objects,
    )


async def _try(api: FakeApi, error: RpcError | None = None, *, reschedules: bool = True) -> tuple[bool, object]:
    """Return whether the claim still has its selected node, and the result of the reconciler."""
    driver = FakeDriver()
    driver.error = error
    result = await Claims(api, api.caches, api.recorder, drivers=driver, reschedules=reschedules).reconcile(KEY)
    return SELECTED in (await api.get(CLAIM, "www-web-0", "default"))["metadata"]["annotations"], result


def _full() -> RpcError:
    return RpcError(code=grpc.StatusCode.RESOURCE_EXHAUSTED, message="full", node_selected=True)


def _unavailable() -> RpcError:
    return DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message="no driver answers")


async def test_a_claim_on_a_full_node_is_rescheduled() -> None:
    """RESOURCE_EXHAUSTED: the scheduler selects another node, and an Event has the reason."""
    api = _api()
    scheduled, _ = await _try(api, _full())
    assert not scheduled
    assert [("Warning", "ProvisioningFailed", "full")] == api.events


async def test_without_a_scheduler_the_claim_waits() -> None:
    """The embedded engine has one node."""
    scheduled, result = await _try(_api(), _full(), reschedules=False)
    assert scheduled
    assert isinstance(result, RequeueAfter)


async def test_a_claim_on_a_node_without_a_pool_is_rescheduled() -> None:
    """No driver on that node can have created a volume."""
    scheduled, _ = await _try(_api(pools=()), _unavailable())
    assert not scheduled


async def test_a_claim_on_a_node_with_a_pool_waits_for_the_driver() -> None:
    """The node's pool label shows that the driver may have created a volume; the claim waits with an Event."""
    api = _api()
    scheduled, result = await _try(api, _unavailable())
    assert scheduled
    assert isinstance(result, RequeueAfter)
    assert "No volume is created on another node until that is known" in api.events[0][2]


async def test_a_claim_on_a_deleted_node_is_rescheduled() -> None:
    """No driver will ever answer for that node."""
    scheduled, _ = await _try(_api(on="gone"))
    assert not scheduled


def _pod() -> Json:
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": f"{name}-web-0"}} for name in ("www", "logs")]
    return {"metadata": {"name": "web-0", "namespace": "default", "uid": "p"}, "spec": {"volumes": volumes}}


def _sibling(volume_name: str = "") -> Json:
    found = claim(uid="c9", **({"volumeName": volume_name} if volume_name else {}))
    found["metadata"]["name"] = "logs-web-0"
    return found


def _siblings_volume(pool: str, uid: str) -> Json:
    found = volume(claim_uid=uid)
    found["metadata"]["name"] = "pvc-c9"
    found["metadata"]["annotations"]["mooring.dev/template"] = "logs"
    found["spec"]["claimRef"]["name"] = "logs-web-0"
    expressions = found["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"]
    expressions[0]["key"] = f"pool.mooring.dev/{pool}"
    return found


def _other_node() -> Json:
    found = node(OTHER)
    found["metadata"] |= {"name": "m", "uid": "node2"}
    return found


@pytest.mark.parametrize(("bound", "uid"), [("pvc-c9", "c9"), ("", "c9"), ("", "c8")])
async def test_siblings_are_provisioned_on_the_same_node(bound: str, uid: str) -> None:
    """When a sibling has, or is about to adopt, a volume on another node, no volume is created here."""
    api = _api((POD, _pod()), (CLAIM, _sibling(bound)), (VOLUME, _siblings_volume(OTHER, uid)), (NODE, _other_node()))
    api.put(STATEFUL_SET, stateful_set("www", "logs"))
    driver = FakeDriver()
    await Claims(api, api.caches, api.recorder, drivers=driver, reschedules=True).reconcile(KEY)
    scheduled = [each for each in api.all(CLAIM, "default") if SELECTED in each["metadata"].get("annotations", {})]
    assert [] == scheduled
    assert {} == driver.live


async def test_a_sibling_on_the_same_node_does_not_block() -> None:
    """Nor does a sibling that never had a volume."""
    api = _api((POD, _pod()), (CLAIM, _sibling()), (VOLUME, _siblings_volume(POOL, "c9")))
    driver = FakeDriver()
    await Claims(api, api.caches, api.recorder, drivers=driver, reschedules=True).reconcile(KEY)
    assert [f"{POOL}.pvc-c1"] == list(driver.live)


async def test_a_claim_waits_for_the_unavailable_disk_of_a_sibling() -> None:
    """No node would suffice, so the claim is not rescheduled again and again."""
    api = _api((POD, _pod()), (CLAIM, _sibling("pvc-c9")), (VOLUME, _siblings_volume(OTHER, "c9")))
    scheduled, _ = await _try(api)
    assert scheduled


async def test_volumes_are_provisioned_only_in_allowed_topologies() -> None:
    """For WaitForFirstConsumer the selected node is checked; a node outside the topologies gets no volume."""
    allowed = storage_class() | {
        "allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["a", "b"]}]}]
    }
    api = _api((STORAGE_CLASS, allowed))
    driver = FakeDriver()
    await Claims(api, api.caches, api.recorder, drivers=driver).reconcile(KEY)
    assert {} == driver.live
    inside = node(POOL)
    inside["metadata"]["labels"]["zone"] = "b"
    api.put(NODE, inside)
    await Claims(api, api.caches, api.recorder, drivers=driver).reconcile(KEY)
    assert [f"{POOL}.pvc-c1"] == list(driver.live)


async def test_an_immediate_class_is_limited_by_its_topologies_too() -> None:
    """The driver chooses among the nodes that the class allows."""
    allowed = storage_class() | {
        "allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["b"]}]}],
        "volumeBindingMode": "Immediate",
    }
    inside = _other_node()
    inside["metadata"]["labels"]["zone"] = "b"
    api = _api((STORAGE_CLASS, allowed), (NODE, inside))
    driver = FakeDriver()
    await Claims(api, api.caches, api.recorder, drivers=driver).reconcile(KEY)
    assert frozenset({"m"}) == driver.candidates
