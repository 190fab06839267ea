"""Disks that are added, moved, replaced and filled, on a real cluster."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cluster.running import Running
from tests.cluster.sets import (
    apply_all,
    bound,
    claim,
    driver_on,
    events,
    hosts,
    placed,
    rolled_out,
    storage_class,
    web,
)
from tests.until import until

pytestmark = [pytest.mark.needs("cluster"), pytest.mark.timeout(600)]

INSIDE = "/var/lib/mooring/pools"
NAME = "test-disk"
CLASS = storage_class("test-disk", backend="directory", pool=NAME, adopt="Ordinal")
SMALL = storage_class("test-small", backend="directory", pool="test-small", adopt="Never", policy="Delete")


@pytest.fixture(scope="module", autouse=True)
def classes(mooring: Running) -> Iterator[None]:
    """Create classes that name a pool."""
    apply_all(mooring, CLASS, SMALL)
    yield
    mooring.kubectl("delete", "storageclass", "test-disk", "test-small")


@dataclass
class Disks:
    """Filesystems in image files, mounted in a node's directory of pools in place of disks."""

    cluster: Running
    folder: Path
    mounted: list[tuple[str, str]] = field(default_factory=list)

    def make(self) -> Path:
        """Create a disk with an empty filesystem."""
        image = self.folder / f"{uuid.uuid4().hex}.img"
        with image.open("wb") as file:
            file.truncate(256 << 20)
        self.cluster.on(self.cluster.nodes[0]).run("mkfs.ext4", "-q", str(image))
        return image

    def mount(self, disk: Path, node: str, name: str = "disk") -> None:
        """Mount the disk on a node."""
        machine = self.cluster.on(node)
        machine.run("mkdir", "-p", f"{INSIDE}/{name}")
        machine.run("mount", "-o", "loop", str(disk), f"{INSIDE}/{name}")
        self.mounted.append((node, name))

    def unmount(self, node: str, name: str = "disk") -> None:
        """Unmount the disk, waiting until it is no longer in use."""
        machine = self.cluster.on(node)
        until(lambda: self._unmounted(machine.run, f"{INSIDE}/{name}"), "the disk can be unmounted")
        machine.run("rmdir", f"{INSIDE}/{name}")
        self.mounted.remove((node, name))

    @staticmethod
    def _unmounted(run: object, path: str) -> bool:
        with contextlib.suppress(AssertionError, OSError, RuntimeError):
            run("umount", path)  # type: ignore[operator]
            return True
        return False

    def init(self, node: str, name: str = "disk", *, pool: str = NAME, more: tuple[str, ...] = ()) -> None:
        """Create a pool on the disk from inside the driver's container."""
        argv = ["mooring", "pool", "init", f"/pools/{name}", "--name", pool, *more]
        self.cluster.kubectl("-n", "mooring-system", "exec", driver_on(self.cluster, node), "--", *argv)


@pytest.fixture
def disks(mooring: Running, tmp_path: Path) -> Iterator[Disks]:
    """Provide disks, and unmount all of them at the end."""
    made = Disks(mooring, tmp_path)
    try:
        yield made
    finally:
        for node, name in list(made.mounted):
            made.unmount(node, name)


def _pools(cluster: Running, node: str) -> set[str]:
    labels = cluster.json("get", "node", node)["metadata"]["labels"]
    return {key for key in labels if key.startswith("pool.mooring.dev/")}


def _empty(cluster: Running, namespace: str) -> None:
    cluster.kubectl("-n", namespace, "scale", "statefulset/web", "--replicas=0")
    cluster.kubectl("-n", namespace, "wait", "--for=delete", "pod/web-0", "--timeout=60s")


def _drop_volumes(cluster: Running, namespace: str) -> None:
    """Delete the PersistentVolumes of a disk that is about to be destroyed."""
    cluster.kubectl("-n", namespace, "delete", "statefulset,pvc", "--all")
    for volume in cluster.json("get", "pv")["items"]:
        if volume["spec"].get("claimRef", {}).get("namespace") == namespace:
            cluster.kubectl("delete", "pv", volume["metadata"]["name"])


def test_a_disk_that_is_added_moves_with_its_volumes(mooring: Running, namespace: str, disks: Disks) -> None:
    """A disk that is added is used within seconds; moved to another node, its ordinal runs there with its data."""
    first, second = mooring.nodes
    disk = disks.make()
    before = _pools(mooring, first)
    disks.mount(disk, first)
    disks.init(first)
    [label] = until(lambda: _pools(mooring, first) - before, "the node has the pool")
    mooring.apply(namespace, *web("test-disk", replicas=1, size="64Mi"))
    rolled_out(mooring, namespace)
    assert {"web-0": first} == placed(mooring, namespace)
    volumes = bound(mooring, namespace)

    _empty(mooring, namespace)
    disks.unmount(first)
    until(lambda: label not in _pools(mooring, first), "the node has the pool no longer")
    disks.mount(disk, second)
    until(lambda: label in _pools(mooring, second), "the other node has it")
    mooring.kubectl("-n", namespace, "scale", "statefulset/web", "--replicas=1")
    rolled_out(mooring, namespace)
    assert {"web-0": second} == placed(mooring, namespace)
    assert volumes == bound(mooring, namespace)
    assert {"web-0": "web-0"} == hosts(mooring, namespace, 0)

    _empty(mooring, namespace)
    mooring.kubectl("-n", namespace, "delete", "statefulset/web", "pvc/www-web-0")
    disks.unmount(second)
    disks.mount(disk, first, "elsewhere")
    until(lambda: label in _pools(mooring, first), "the first node has it again, at another path")
    mooring.apply(namespace, *web("test-disk", replicas=1, size="64Mi"))
    rolled_out(mooring, namespace)
    assert volumes == bound(mooring, namespace)
    assert {"web-0": "web-0"} == hosts(mooring, namespace, 0)
    _empty(mooring, namespace)
    _drop_volumes(mooring, namespace)


def test_a_replaced_disk_is_not_mistaken_for_the_former_one(mooring: Running, namespace: str, disks: Disks) -> None:
    """I2: with the same pool name and path the claim waits and reports why; other claims use the new disk."""
    first, _ = mooring.nodes
    before = _pools(mooring, first)
    old, new = disks.make(), disks.make()
    disks.mount(old, first)
    disks.init(first)
    [label] = until(lambda: _pools(mooring, first) - before, "the node has the pool")
    mooring.apply(namespace, *web("test-disk", replicas=1, size="64Mi"))
    rolled_out(mooring, namespace)
    _empty(mooring, namespace)
    mooring.kubectl("-n", namespace, "delete", "statefulset/web", "pvc/www-web-0")
    disks.unmount(first)
    until(lambda: label not in _pools(mooring, first), "the node has the pool no longer")
    disks.mount(new, first)
    disks.init(first)
    until(lambda: _pools(mooring, first) - before, "the node has another one")

    mooring.apply(namespace, *web("test-disk", replicas=1, size="64Mi"))
    until(
        lambda: "is on no available node" in events(mooring, namespace, "www-web-0"),
        "the claim reports what it waits for",
    )
    other = claim("other", "test-disk", size="64Mi")
    other_pod = web("test-disk", replicas=1)[1]["spec"]["template"]
    volume = {"name": "www", "persistentVolumeClaim": {"claimName": "other"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other"}, "spec": other_pod["spec"]}
    mooring.apply(namespace, other, pod | {"spec": pod["spec"] | {"volumes": [volume]}})
    mooring.ready(namespace, "other")
    assert ["other"] == list(bound(mooring, namespace))

    mooring.kubectl("-n", namespace, "delete", "pod/other", "pvc/other")
    disks.unmount(first)
    disks.mount(old, first)
    rolled_out(mooring, namespace)
    assert {"web-0": "web-0"} == hosts(mooring, namespace, 0)
    _empty(mooring, namespace)
    _drop_volumes(mooring, namespace)


def test_a_pod_is_scheduled_to_the_other_node_when_a_pool_is_full(
    mooring: Running, namespace: str, disks: Disks
) -> None:
    """When both pools are full, the next pod waits, and its Event says why."""
    for node in mooring.nodes:
        before = _pools(mooring, node)
        disks.mount(disks.make(), node)
        disks.init(node, pool="test-small", more=("--capacity", "100Mi"))
        until(lambda node=node, before=before: _pools(mooring, node) - before, f"{node} has the pool")  # type: ignore[misc]
    mooring.apply(namespace, *web("test-small", replicas=2, size="80Mi"))
    rolled_out(mooring, namespace)
    assert set(mooring.nodes) == set(placed(mooring, namespace).values())
    mooring.kubectl("-n", namespace, "scale", "statefulset/web", "--replicas=3")
    until(
        lambda: "did not have enough free storage" in events(mooring, namespace, "web-2"),
        "an Event of the third pod says why",
    )
    assert 2 == len(bound(mooring, namespace))
    mooring.kubectl("-n", namespace, "delete", "statefulset/web", "pvc/www-web-0", "pvc/www-web-1", "pvc/www-web-2")
    until(lambda: not _volumes_of(mooring, namespace), "the volumes go")


def _volumes_of(cluster: Running, namespace: str) -> list[str]:
    return [
        each["metadata"]["name"]
        for each in cluster.json("get", "pv")["items"]
        if each["spec"].get("claimRef", {}).get("namespace") == namespace
    ]
