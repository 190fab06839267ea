"""When a claim goes back to the scheduler, and when it waits."""

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


def _placed(on: str = "n") -> Json:
    found = claim()
    found["metadata"]["annotations"] = {
        SELECTED: on,
        "volume.kubernetes.io/storage-provisioner": "csi.mooring.dev",
    }
    return found


def _api(*objects: tuple[Kind, Json], on: str = "n", pools: tuple[str, ...] = (POOL,)) -> FakeApi:
    return FakeApi(
        (CLAIM, _placed(on)),
        (NAMESPACE, namespace()),
        (NODE, node(*pools)),
        (STORAGE_CLASS, storage_class()),
        (STATEFUL_SET, stateful_set()),
        *objects,
    )


async def _try(api: FakeApi, error: RpcError | None = None, *, reschedules: bool = True) -> tuple[bool, object]:
    """Whether the claim is still placed, and what the reconciler says."""
    driver = FakeDriver()
    driver.error = error
    result = await Claims(api, api.caches, api.recorder, drivers=driver, reschedules=reschedules).reconcile(KEY)
    return SELECTED in (await api.get(CLAIM, "www-web-0", "default"))["metadata"]["annotations"], result


def _full() -> RpcError:
    return RpcError(code=grpc.StatusCode.RESOURCE_EXHAUSTED, message="full", node_selected=True)


def _away() -> RpcError:
    return DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message="nobody there")


async def test_a_full_node_gives_the_claim_back() -> None:
    """RESOURCE_EXHAUSTED: the scheduler chooses another node, and an Event says why."""
    api = _api()
    placed, _ = await _try(api, _full())
    assert not placed
    assert [("Warning", "ProvisioningFailed", "full")] == api.events


async def test_without_a_scheduler_to_choose_anew_the_claim_waits() -> None:
    """The embedded engine has one node."""
    placed, result = await _try(_api(), _full(), reschedules=False)
    assert placed
    assert isinstance(result, RequeueAfter)


async def test_a_node_that_never_had_a_pool_gives_the_claim_back() -> None:
    """No driver there can have made anything."""
    placed, _ = await _try(_api(pools=()), _away())
    assert not placed


async def test_a_node_whose_driver_is_away_may_have_made_it() -> None:
    """Its pool label says that it could; the claim waits and says so."""
    api = _api()
    placed, result = await _try(api, _away())
    assert placed
    assert isinstance(result, RequeueAfter)
    assert "Nothing is made elsewhere until that is known" in api.events[0][2]


async def test_a_node_that_is_gone_gives_the_claim_back() -> None:
    """Nobody will ever answer there."""
    placed, _ = await _try(_api(on="gone"))
    assert not placed


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
async def test_siblings_land_together(bound: str, uid: str) -> None:
    """The other claim of the pod has, or is about to adopt, a volume on another node: no volume is made here."""
    api = _api((POD, _pod()), (CLAIM, _sibling(bound)), (VOLUME, _siblings_volume(OTHER, uid)), (NODE, _other_node()))
    api.put(STATEFUL_SET, stateful_set("www", "logs"))
    driver = FakeDriver()
    await Claims(api, api.caches, api.recorder, drivers=driver, reschedules=True).reconcile(KEY)
    placed = [each for each in api.all(CLAIM, "default") if SELECTED in each["metadata"].get("annotations", {})]
    assert [] == placed
    assert {} == driver.living


async def test_a_sibling_on_the_same_node_is_no_hindrance() -> None:
    """Nor is one that never had a volume."""
    api = _api((POD, _pod()), (CLAIM, _sibling()), (VOLUME, _siblings_volume(POOL, "c9")))
    driver = FakeDriver()
    await Claims(api, api.caches, api.recorder, drivers=driver, reschedules=True).reconcile(KEY)
    assert [f"{POOL}.pvc-c1"] == list(driver.living)


async def test_a_sibling_whose_disk_is_away_is_waited_for() -> None:
    """No node would do, so the scheduler is not asked again and again."""
    api = _api((POD, _pod()), (CLAIM, _sibling("pvc-c9")), (VOLUME, _siblings_volume(OTHER, "c9")))
    placed, _ = await _try(api)
    assert placed


async def test_allowed_topologies_bound_where_volumes_are_made() -> None:
    """Of a class that waits, the scheduler's choice is checked; a node left out gets no volume."""
    allowed = storage_class() | {
        "allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["a", "b"]}]}]
    }
    api = _api((STORAGE_CLASS, allowed))
    driver = FakeDriver()
    await Claims(api, api.caches, api.recorder, drivers=driver).reconcile(KEY)
    assert {} == driver.living
    inside = node(POOL)
    inside["metadata"]["labels"]["zone"] = "b"
    api.put(NODE, inside)
    await Claims(api, api.caches, api.recorder, drivers=driver).reconcile(KEY)
    assert [f"{POOL}.pvc-c1"] == list(driver.living)


async def test_a_class_that_does_not_wait_is_bounded_by_its_topologies_too() -> None:
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
