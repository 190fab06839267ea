"""Tests of the engine's kubelet: which volumes it mounts, and that it unmounts all of them."""

import copy
from pathlib import Path

import grpc
import pytest

from provisioner.drivers.client import DriverUnavailable, RpcError, VolumeNotFoundError
from provisioner.embedded.kubelet.csi_calls import Mounting
from provisioner.embedded.kubelet.kubelet import Kubelet
from provisioner.embedded.settings import StatePaths, prepare
from provisioner.kube.control import Done, RequeueAfter
from provisioner.model.kinds import CLAIM, NODE, POD, VOLUME, Json
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.objects import HANDLE, claim, node, volume

KEY = ("default", "web-0")


class _Calls:
    """A fake of a driver's Node service with the staged and published volumes; all calls raise `error` when set."""

    def __init__(self) -> None:
        self.staged: set[str] = set()
        self.published: set[str] = set()
        self.error: RpcError | None = None
        self.expanded: dict[str, int] = {}

    def _check(self) -> None:
        if self.error:
            raise self.error

    async def stage(self, mounting: Mounting) -> None:
        self._check()
        self.staged.add(mounting.handle)

    async def publish(self, mounting: Mounting) -> None:
        self._check()
        assert mounting.handle in self.staged
        self.published.add(str(mounting.target))

    async def expand(self, mounting: Mounting, *, required_bytes: int) -> None:
        self._check()
        assert str(mounting.target) in self.published
        self.expanded[mounting.handle] = required_bytes

    async def unpublish(self, *, handle: str, target: Path) -> None:
        self._check()
        assert handle
        self.published.discard(str(target))

    async def unstage(self, *, handle: str, staging: Path) -> None:
        self._check()
        assert staging.name
        if self.published:
            raise RpcError(code=grpc.StatusCode.FAILED_PRECONDITION, message="still published")
        self.staged.discard(handle)


def _pod(*, name: str = "web-0", uid: str = "p1", **metadata: object) -> Json:
    return {
        "metadata": {"name": name, "namespace": "default", "uid": uid, **metadata},
        "spec": {
            "nodeName": "n",
            "containers": [{"name": "nginx", "image": "nginx"}],
            "volumes": [{"name": "www", "persistentVolumeClaim": {"claimName": "www-web-0"}}],
        },
        "status": {"phase": "Pending"},
    }


def _api(*pods: Json) -> FakeApi:
    bound = claim(phase="Bound", volumeName="pvc-c1")
    return FakeApi((NODE, node()), (CLAIM, bound), (VOLUME, volume()), *((POD, pod) for pod in pods))


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    """A prepared state directory."""
    found = StatePaths(tmp_path)
    prepare(found)
    return found


def _kubelet(api: FakeApi, calls: _Calls, paths: StatePaths) -> Kubelet:
    return Kubelet(api, api.caches, api.recorder, calls=calls, paths=paths, node="n")


async def test_a_pod_becomes_ready_when_its_volumes_are_mounted(paths: StatePaths) -> None:
    """The volume is staged and published at the pod's path before the pod is Ready."""
    api, calls = _api(_pod()), _Calls()
    assert Done() == await _kubelet(api, calls, paths).reconcile(KEY)
    assert {str(paths.pods / "default" / "web-0" / "www")} == calls.published
    assert "Running" == api.all(POD)[0]["status"]["phase"]


async def test_the_record_is_on_disk_before_the_first_call(paths: StatePaths) -> None:
    """A crash inside the first call leaves a record of what may have been mounted."""
    api, calls = _api(_pod()), _Calls()
    calls.error = RpcError(code=grpc.StatusCode.INTERNAL, message="the device is busy")
    with pytest.raises(RpcError):
        await _kubelet(api, calls, paths).reconcile(KEY)
    assert 1 == len(list(paths.records.iterdir()))
    assert [("Warning", "FailedMount")] == [event[:2] for event in api.events]
    assert "Pending" == api.all(POD)[0]["status"]["phase"]


async def test_a_deleted_pod_is_removed_after_its_volumes_are_unmounted(paths: StatePaths) -> None:
    """Unpublish and unstage precede the deletion with grace period 0, so the next pod does not get the old mount."""
    api, calls = _api(_pod()), _Calls()
    kubelet = _kubelet(api, calls, paths)
    await kubelet.reconcile(KEY)
    api.put(POD, {**api.all(POD)[0], "metadata": {**_pod(deletionTimestamp="t")["metadata"]}})
    await kubelet.reconcile(KEY)
    assert (set(), set()) == (calls.published, calls.staged)
    assert ("delete 0", "pods", "web-0") == api.writes[-1]
    assert [] == [*paths.records.iterdir(), *paths.pods.iterdir(), *paths.staging.iterdir()]


async def test_a_pod_stays_while_its_volumes_cannot_be_unmounted(paths: StatePaths) -> None:
    """The pod and its record are deleted only after the driver has unmounted the volumes."""
    api, calls = _api(_pod()), _Calls()
    kubelet = _kubelet(api, calls, paths)
    await kubelet.reconcile(KEY)
    api.put(POD, _pod(deletionTimestamp="t"))
    calls.error = DriverUnavailable(code=grpc.StatusCode.UNAVAILABLE, message="unavailable")
    assert isinstance(await kubelet.reconcile(KEY), RequeueAfter)
    assert api.all(POD)
    calls.error = None
    await kubelet.reconcile(KEY)
    assert not api.all(POD)


async def test_a_force_deleted_pod_is_unmounted_after_a_restart(paths: StatePaths) -> None:
    """The record outlives the pod and the kubelet; the Node triggers the pods with records."""
    api, calls = _api(_pod()), _Calls()
    await _kubelet(api, calls, paths).reconcile(KEY)
    await api.delete(POD, "web-0", namespace="default", grace_seconds=0)
    after = _kubelet(api, calls, paths)
    assert [KEY] == list(after.watches()[NODE](node()))
    await after.reconcile(KEY)
    assert (set(), set()) == (calls.published, calls.staged)


async def test_a_volume_that_the_driver_does_not_have_blocks_no_pod_deletion(paths: StatePaths) -> None:
    """When the pool is missing and nothing is mounted, there is nothing to unmount, and the pod is deleted."""
    api, calls = _api(_pod()), _Calls()
    kubelet = _kubelet(api, calls, paths)
    await kubelet.reconcile(KEY)
    api.put(POD, _pod(deletionTimestamp="t"))
    calls.error = VolumeNotFoundError(code=grpc.StatusCode.NOT_FOUND, message="unknown")
    await kubelet.reconcile(KEY)
    assert not api.all(POD)


async def test_the_volumes_of_a_recreated_pod_are_mounted_again(paths: StatePaths) -> None:
    """The old pod's volumes are unmounted before those of the new pod of the same name are mounted."""
    api, calls = _api(_pod()), _Calls()
    kubelet = _kubelet(api, calls, paths)
    await kubelet.reconcile(KEY)
    api.put(POD, _pod(uid="p2"))
    await kubelet.reconcile(KEY)
    assert 1 == len(calls.published)
    assert ["p2.json"] == [path.name for path in paths.records.iterdir()]


async def test_a_volume_is_unstaged_with_its_last_pod(paths: StatePaths) -> None:
    """Two pods may share a claim on one node; the volume stays staged until the second one is deleted."""
    api, calls = _api(_pod(), _pod(name="other", uid="p2")), _Calls()
    kubelet = _kubelet(api, calls, paths)
    await kubelet.reconcile(KEY)
    await kubelet.reconcile(("default", "other"))
    await api.delete(POD, "web-0", namespace="default", grace_seconds=0)
    await kubelet.reconcile(KEY)
    assert {HANDLE} == calls.staged
    await api.delete(POD, "other", namespace="default", grace_seconds=0)
    await kubelet.reconcile(("default", "other"))
    assert set() == calls.staged


async def test_shutting_down_unmounts_and_keeps_the_pods(paths: StatePaths) -> None:
    """After SIGTERM nothing is mounted, and the pod still exists and is not Ready."""
    api, calls = _api(_pod()), _Calls()
    kubelet = _kubelet(api, calls, paths)
    await kubelet.reconcile(KEY)
    assert [] == await kubelet.shut_down()
    assert set() == calls.staged
    ready = [each for each in api.all(POD)[0]["status"]["conditions"] if each["type"] == "Ready"]
    assert "False" == ready[0]["status"]


async def test_a_ready_pod_without_mounts_is_set_to_not_ready_at_the_start(paths: StatePaths) -> None:
    """After a reboot the stored pod is still Ready while nothing is mounted; the start of the engine corrects that."""
    api, calls = _api(_pod()), _Calls()
    await _kubelet(api, calls, paths).reconcile(KEY)
    await _kubelet(api, calls, paths).prepare()
    ready = [each for each in api.all(POD)[0]["status"]["conditions"] if each["type"] == "Ready"]
    assert "False" == ready[0]["status"]


@pytest.mark.limit("unmounted-by-hand")
async def test_a_volume_unmounted_by_hand_stays_unmounted_until_the_pod_is_recreated(paths: StatePaths) -> None:
    """The mounts of a running pod are not checked, so an unmount by an admin is not detected."""
    api, calls = _api(_pod()), _Calls()
    kubelet = _kubelet(api, calls, paths)
    await kubelet.reconcile(KEY)
    calls.published.clear()
    await kubelet.reconcile(KEY)
    assert set() == calls.published


def _expand_volume_object(api: FakeApi, *, state: str = "NodeResizePending") -> None:
    """Store a claim and a volume that were expanded to 2Gi, without the filesystem."""
    expanded, volume_object = api.all(CLAIM)[0], api.all(VOLUME)[0]
    expanded["spec"]["resources"]["requests"]["storage"] = volume_object["spec"]["capacity"]["storage"] = "2Gi"
    expanded["status"] |= {"capacity": {"storage": "1Gi"}, "allocatedResourceStatuses": {"storage": state}}
    expanded["status"]["conditions"] = [{"type": "FileSystemResizePending", "status": "True"}]
    api.put(CLAIM, expanded)
    api.put(VOLUME, volume_object)


async def test_the_filesystem_of_a_mounted_volume_is_expanded_while_the_pod_runs(paths: StatePaths) -> None:
    """As with kubelet, the filesystem is expanded online before the claim gets its new capacity."""
    api, calls = _api(_pod()), _Calls()
    kubelet = _kubelet(api, calls, paths)
    await kubelet.reconcile(KEY)
    _expand_volume_object(api)
    assert Done() == await kubelet.reconcile(KEY)
    assert {HANDLE: 2 << 30} == calls.expanded
    status = api.all(CLAIM)[0]["status"]
    assert ({"storage": "2Gi"}, [], False) == (
        status["capacity"],
        status["conditions"],
        "allocatedResourceStatuses" in status,
    )
    assert ("Normal", "FileSystemResizeSuccessful") == api.events[-1][:2]


async def test_the_filesystem_of_a_volume_expanded_while_unused_is_expanded_when_mounted(
    paths: StatePaths,
) -> None:
    """The filesystem is expanded when a pod mounts it, and the pod has the full size."""
    api, calls = _api(_pod()), _Calls()
    _expand_volume_object(api)
    await _kubelet(api, calls, paths).reconcile(KEY)
    assert ({HANDLE: 2 << 30}, "Running") == (calls.expanded, api.all(POD)[0]["status"]["phase"])


async def test_a_failed_filesystem_expansion_does_not_affect_the_pod(paths: StatePaths) -> None:
    """The pod is Ready with the old size; the claim has the reason; kubelet, or else the controller, retries."""
    for code, state in (("INTERNAL", "NodeResizeInProgress"), ("OUT_OF_RANGE", "NodeResizeInfeasible")):
        api, calls = _api(_pod()), _Calls()
        kubelet = _kubelet(api, calls, paths)
        await kubelet.reconcile(KEY)
        _expand_volume_object(api)
        calls.error = RpcError(code=grpc.StatusCode[code], message="no space for more inodes")
        again = await kubelet.reconcile(KEY)
        assert isinstance(again, RequeueAfter) == (code == "INTERNAL")
        status = api.all(CLAIM)[0]["status"]
        assert {"storage": state} == status["allocatedResourceStatuses"]
        assert "no space for more inodes" in api.events[-1][2]
        assert "Running" == api.all(POD)[0]["status"]["phase"]


async def test_a_failed_filesystem_expansion_is_retried_at_once_after_another_mount(paths: StatePaths) -> None:
    """The backoff after a failure does not apply to the next mount."""
    api, calls = _api(_pod()), _Calls()
    kubelet = _kubelet(api, calls, paths)
    await kubelet.reconcile(KEY)
    _expand_volume_object(api)
    calls.error = RpcError(code=grpc.StatusCode.FAILED_PRECONDITION, message="it is in use")
    assert isinstance(await kubelet.reconcile(KEY), RequeueAfter)
    calls.error = None
    await kubelet.reconcile(KEY)
    assert {} == calls.expanded
    api.put(POD, _pod(uid="p2"))
    assert Done() == await kubelet.reconcile(KEY)
    assert {HANDLE: 2 << 30} == calls.expanded


async def test_pods_of_other_nodes_are_ignored(paths: StatePaths) -> None:
    """A pod that is not scheduled to this node is not changed."""
    elsewhere = _pod()
    elsewhere["spec"]["nodeName"] = ""
    api, calls = _api(elsewhere), _Calls()
    assert Done() == await _kubelet(api, calls, paths).reconcile(KEY)
    assert (set(), []) == (calls.staged, api.writes)


async def test_one_claim_in_two_volumes_of_a_pod_is_mounted_and_unmounted_twice(paths: StatePaths) -> None:
    """Both are published, and the volume is unstaged after both are unpublished."""
    pod = _pod(deletionTimestamp="2026-01-01T00:00:00Z")
    pod["spec"]["volumes"].append(
        {"name": "again", "persistentVolumeClaim": {"claimName": "www-web-0", "readOnly": True}}
    )
    deleting, calls = copy.deepcopy(pod), _Calls()
    del pod["metadata"]["deletionTimestamp"]
    api = _api(pod)
    kubelet = _kubelet(api, calls, paths)

    await kubelet.reconcile(KEY)
    assert {Path(each).name for each in calls.published} == {"www", "again"}
    api.put(POD, deleting)
    await kubelet.reconcile(KEY)

    assert (calls.published, calls.staged) == (set(), set())
    assert not api.all(POD)


async def test_a_failed_unmount_is_an_event_of_its_pod(paths: StatePaths) -> None:
    """It is reported like a failed mount, also when the pod is already deleted."""
    for exists in (True, False):
        api, calls = _api(_pod()), _Calls()
        kubelet = _kubelet(api, calls, paths)
        await kubelet.reconcile(KEY)
        if exists:
            api.put(POD, _pod(deletionTimestamp="2026-01-01T00:00:00Z"))
        else:
            api = _api()
            kubelet = _kubelet(api, calls, paths)
        calls.error = RpcError(code=grpc.StatusCode.INTERNAL, message="the disk is missing")

        with pytest.raises(RpcError):
            await kubelet.reconcile(KEY)

        assert api.events[-1][:2] == ("Warning", "FailedUnMount")
        assert "the disk is missing" in api.events[-1][2]


async def test_the_pods_of_a_node_that_does_not_exist_are_deleted(paths: StatePaths) -> None:
    """This node had another name when they were scheduled: they are unmounted and deleted, so that they are recreated."""
    api, calls = _api(_pod()), _Calls()
    await _kubelet(api, calls, paths).reconcile(KEY)
    renamed = Kubelet(api, api.caches, api.recorder, calls=calls, paths=paths, node="after")
    del api.objects[NODE.plural, "", "n"]
    api.put(NODE, {"metadata": {"name": "after"}, "spec": {}})

    await renamed.reconcile(KEY)

    assert (calls.published, calls.staged) == (set(), set())
    assert not api.all(POD)
