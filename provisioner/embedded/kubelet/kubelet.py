"""
The engine's kubelet: mounts the claims of this node's pods under ``<state>/pods/<namespace>/<pod>/<volume>``.

It starts no containers. Settings for containers, such as fsGroup and subPath, are ignored.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import structlog

from provisioner.drivers.client import DriverUnavailable, RpcError, VolumeNotFoundError, capability
from provisioner.embedded.kubelet import pod_status
from provisioner.embedded.kubelet.csi_calls import Mounting
from provisioner.embedded.kubelet.mount_records import MountRecord, PodRecord, Records
from provisioner.embedded.kubelet.node_expand import NodeExpander
from provisioner.embedded.kubelet.node_object import timestamp
from provisioner.embedded.kubelet.pod_volumes import DesiredVolume, Missing, desired_volumes
from provisioner.embedded.settings import StatePaths
from provisioner.kube.cache import Caches
from provisioner.kube.control import Done, Key, RequeueAfter
from provisioner.kube.errors import ApiError, Conflict, NotFound
from provisioner.kube.events import Recorder
from provisioner.kube.transport import Transport
from provisioner.model.kinds import CLAIM, NODE, POD, VOLUME, Json, Kind
from provisioner.model.pod import claims_of

log = structlog.get_logger()

DRIVER_UNAVAILABLE_SECONDS = 0.3
DRIVER_WAIT_SECONDS = 10.0
"""The seconds for which a stopping engine retries calls of an unavailable driver, for each pod."""


class Calls(Protocol):
    """The calls of a driver's Node service."""

    async def stage(self, mounting: Mounting) -> None:
        """Stage the volume on this node."""

    async def publish(self, mounting: Mounting) -> None:
        """Publish it at the pod's path."""

    async def expand(self, mounting: Mounting, *, required_bytes: int) -> None:
        """Expand its filesystem."""

    async def unpublish(self, *, handle: str, target: Path) -> None:
        """Unpublish it from the pod's path."""

    async def unstage(self, *, handle: str, staging: Path) -> None:
        """Unstage it from this node."""


class Kubelet:
    """The reconciler of this node's pods, by name, and of everything mounted under that name."""

    name = "agent"
    workers = 4

    def __init__(
        self, transport: Transport, caches: Caches, recorder: Recorder, *, calls: Calls, paths: StatePaths, node: str
    ) -> None:
        self._transport = transport
        self._caches = caches
        self._recorder = recorder
        self._calls = calls
        self._paths = paths
        self._node = node
        self._expander = NodeExpander(transport, caches, recorder, calls=calls)
        self._records = Records(paths.records)
        self._mounted: set[str] = set()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """Return the triggers: a pod, its claims, their volumes, its Node, and this Node for all recorded pods."""
        return {POD: self._of_pod, CLAIM: self._of_claim, VOLUME: self._of_volume, NODE: self._of_node}

    def _of_pod(self, pod: Json) -> Iterable[Key]:
        yield pod["metadata"]["namespace"], pod["metadata"]["name"]

    def _of_claim(self, claim: Json) -> Iterable[Key]:
        namespace, name = claim["metadata"]["namespace"], claim["metadata"]["name"]
        for pod in self._caches[POD].all(namespace):
            if any(each.claim == name for each in claims_of(pod)):
                yield namespace, pod["metadata"]["name"]

    def _of_volume(self, volume: Json) -> Iterable[Key]:
        ref = volume["spec"].get("claimRef") or {}
        claim = self._caches[CLAIM].get(ref["name"], ref["namespace"]) if ref.get("name") else None
        return self._of_claim(claim) if claim else ()

    def _of_node(self, node: Json) -> Iterable[Key]:
        name = node["metadata"]["name"]
        if name == self._node:
            yield from {(record.namespace, record.pod) for record in self._records}
            return
        for pod in self._caches[POD].all():
            if pod["spec"].get("nodeName") == name:
                yield pod["metadata"]["namespace"], pod["metadata"]["name"]

    async def reconcile(self, key: Key) -> Done | RequeueAfter:
        """
        Mount and unmount until the mounts of this name match the pod of this name.

        A pod whose node does not exist is deleted, as by the pod garbage collector of a cluster: the engine's node may
        have had another name.
        """
        namespace, name = key
        pod = self._caches[POD].get(name, namespace)
        uid = pod["metadata"]["uid"] if pod else ""
        node = pod["spec"].get("nodeName") or "" if pod else ""
        node_missing = node not in ("", self._node) and self._caches[NODE].get(node) is None
        ending = pod is not None and (node_missing or "deletionTimestamp" in pod["metadata"])
        try:
            for record in self._records.of_pod(namespace, name):
                if record.uid != uid or ending:
                    await self._end(record)
            if pod is None or (node != self._node and not ending):
                return Done()
            if ending:
                await self._complete_deletion(pod)
                return Done()
            return await self._set_up(pod)
        except DriverUnavailable:
            return RequeueAfter(DRIVER_UNAVAILABLE_SECONDS, "the driver is unavailable")

    async def _set_up(self, pod: Json) -> Done | RequeueAfter:
        namespace, uid = pod["metadata"]["namespace"], pod["metadata"]["uid"]
        desired = desired_volumes(
            pod, claim=lambda name: self._caches[CLAIM].get(name, namespace), volume=self._caches[VOLUME].get
        )
        if uid not in self._mounted:
            if isinstance(desired, Missing):
                if desired.final:
                    await self._warn(pod, f"{desired.why}; no volume of the pod is mounted")
                return Done()
            await self._mount_all(pod, desired)
            self._mounted.add(uid)
            log.info("pod.mounted", namespace=namespace, pod=pod["metadata"]["name"], volumes=len(desired))
        if not pod_status.is_ready(pod):
            await self._write_status(pod, pod_status.mounted(pod, now=timestamp()))
        return Done() if isinstance(desired, Missing) else await self._expand(pod, desired)

    async def _expand(self, pod: Json, desired: list[DesiredVolume]) -> Done | RequeueAfter:
        """Expand the filesystems of volumes that were expanded while or before they were mounted."""
        pauses = []
        for each in desired:
            async with self._locks[each.volume_object]:
                pauses.append(await self._expander.expand(each.volume_object, self._mounting(pod, each)))
        next_pause = min((pause for pause in pauses if pause), default=0.0)
        return RequeueAfter(next_pause, "a filesystem could not be expanded") if next_pause else Done()

    def _mounting(self, pod: Json, each: DesiredVolume) -> Mounting:
        metadata = pod["metadata"]
        return Mounting(
            handle=each.handle,
            staging=self._paths.staging / each.volume_object,
            target=self._paths.pods / metadata["namespace"] / metadata["name"] / each.volume,
            capability=capability(
                modes=each.modes,
                volume_mode=each.volume_mode,
                fs_type=each.fs_type,
                mount_flags=each.mount_flags,
            ),
            context=dict(each.context),
            read_only=each.read_only,
        )

    async def _mount_all(self, pod: Json, desired: list[DesiredVolume]) -> None:
        metadata = pod["metadata"]
        record = PodRecord(
            namespace=metadata["namespace"],
            pod=metadata["name"],
            uid=metadata["uid"],
            mounts=tuple(
                MountRecord(volume=each.volume, volume_object=each.volume_object, handle=each.handle)
                for each in desired
            ),
        )
        if desired:
            await asyncio.to_thread(self._records.put, record)
        for each in desired:
            mounting = self._mounting(pod, each)
            async with self._locks[each.volume_object]:
                try:
                    _create_directories(mounting, mount_point=each.volume_mode == "Filesystem")
                    await self._calls.stage(mounting)
                    self._expander.reset_backoff(each.volume_object)
                    await self._calls.publish(mounting)
                except DriverUnavailable:
                    raise
                except RpcError as error:
                    await self._warn(pod, f"volume {each.volume} ({each.volume_object}): {error.message}")
                    raise

    async def _tear_down(self, record: PodRecord) -> None:
        """
        Unmount everything of one pod; each step may be repeated, and the record is removed last.

        A volume is unstaged after it was unpublished from all paths: a pod may mount one claim as several volumes.
        """
        self._mounted.discard(record.uid)
        for mount in record.mounts:
            async with self._locks[mount.volume_object]:
                target = self._target(record, mount.volume)
                await _ignore_not_found(self._calls.unpublish(handle=mount.handle, target=target), target)
                _remove_empty(target, target.parent, target.parent.parent)
        for volume_object, handle in {mount.volume_object: mount.handle for mount in record.mounts}.items():
            async with self._locks[volume_object]:
                users = [each.uid for each in self._records.of_volume(volume_object)]
                if users == [record.uid]:
                    staging = self._paths.staging / volume_object
                    await _ignore_not_found(self._calls.unstage(handle=handle, staging=staging), staging)
                    _remove_empty(staging)
        await asyncio.to_thread(self._records.forget, record.uid)
        log.info("pod.unmounted", namespace=record.namespace, pod=record.pod, volumes=len(record.mounts))

    async def _end(self, record: PodRecord) -> None:
        """Unmount everything of one pod; record a failure as an Event of the pod, like a failed mount."""
        try:
            await self._tear_down(record)
        except DriverUnavailable:
            raise
        except RpcError as error:
            metadata = {"namespace": record.namespace, "name": record.pod, "uid": record.uid}
            pod = {"apiVersion": POD.api_version, "kind": POD.name, "metadata": metadata}
            message = f"a volume could not be unmounted, so the pod is not deleted yet: {error.message}"
            await self._recorder.record(pod, type="Warning", reason="FailedUnMount", message=message)
            raise

    async def _complete_deletion(self, pod: Json) -> None:
        """Delete the pod from the API server after its volumes are unmounted, unless its UID has changed."""
        metadata = pod["metadata"]
        if metadata.get("deletionGracePeriodSeconds") == 0 and "deletionTimestamp" in metadata:
            return  # already requested; a finalizer delays the deletion
        with contextlib.suppress(NotFound, Conflict):
            await self._transport.delete(
                POD, metadata["name"], namespace=metadata["namespace"], uid=metadata["uid"], grace_seconds=0
            )

    async def prepare(self) -> None:
        """Set pods with unmounted volumes to not Ready when the engine starts, for example after a reboot."""
        mounts = _mount_points()
        listing = await self._transport.list(POD, field_selector=f"spec.nodeName={self._node}")
        for pod in listing.items:
            metadata = pod["metadata"]
            directory = self._paths.pods / metadata["namespace"] / metadata["name"]
            not_mounted = [each.name for each in claims_of(pod) if str(directory / each.name) not in mounts]
            if not_mounted and pod_status.is_ready(pod):
                await self._write_status(pod, pod_status.unmounted(pod, reason="VolumesNotMounted", now=timestamp()))

    async def shut_down(self) -> list[str]:
        """Unmount the volumes of all pods without deleting the pods; return messages on failures."""
        problems: list[str] = []
        for record in self._records:
            pod = self._caches[POD].get(record.pod, record.namespace)
            if pod is not None and pod["metadata"]["uid"] == record.uid:
                status = pod_status.unmounted(pod, reason="EngineStopped", now=timestamp())
                with contextlib.suppress(ApiError, OSError):
                    await self._write_status(pod, status)
            if problem := await self._tear_down_with_retries(record):
                problems.append(f"the volumes of pod {record.namespace}/{record.pod} could not be unmounted: {problem}")
        return problems

    async def _tear_down_with_retries(self, record: PodRecord) -> str:
        """Unmount, and retry while the driver is being restarted; return the last error, or ""."""
        loop = asyncio.get_running_loop()
        limit = loop.time() + DRIVER_WAIT_SECONDS
        # unbounded: until the limit of PATIENCE_SECONDS
        while True:
            try:
                await self._tear_down(record)
            except DriverUnavailable as error:
                if loop.time() > limit:
                    return error.message
                await asyncio.sleep(DRIVER_UNAVAILABLE_SECONDS)
            except RpcError as error:
                return error.message
            else:
                return ""

    def _target(self, record: PodRecord, volume: str) -> Path:
        return self._paths.pods / record.namespace / record.pod / volume

    async def _write_status(self, pod: Json, status: Json) -> None:
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": metadata["uid"]}, "status": status}
        with contextlib.suppress(NotFound):
            await self._transport.patch(
                POD, metadata["name"], patch, namespace=metadata["namespace"], subresource="status"
            )

    async def _warn(self, pod: Json, message: str) -> None:
        await self._recorder.record(pod, type="Warning", reason="FailedMount", message=message)


def _create_directories(mounting: Mounting, *, mount_point: bool) -> None:
    """
    Create the directories that CSI expects the CO to create.

    The mode of a mount point is read-only, so that users outside the mount namespace cannot write below it.
    """
    mounting.staging.mkdir(mode=0o700, parents=True, exist_ok=True)
    pod = mounting.target.parent
    pod.mkdir(mode=0o755, parents=True, exist_ok=True)
    if mount_point and not mounting.target.exists():
        mounting.target.mkdir(mode=0o555)


async def _ignore_not_found(call: Coroutine[Any, Any, None], path: Path) -> None:
    """Await the call, and ignore NOT_FOUND for the volume unless a filesystem is mounted at the path."""
    try:
        await call
    except VolumeNotFoundError:
        if str(path) in _mount_points():
            raise


def _remove_empty(*directories: Path) -> None:
    for directory in directories:
        with contextlib.suppress(OSError):
            directory.rmdir()


def _mount_points() -> set[str]:
    # unbounded: the kernel limits the table itself (fs.mount-max)
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    return {_mount_point(line) for line in table.splitlines()}


def _mount_point(line: str) -> str:
    """Return the fifth field of a line of proc(5) mountinfo, with its octal escapes decoded."""
    field = line.split(" ")[4]
    for code, letter in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        field = field.replace(code, letter)
    return field
