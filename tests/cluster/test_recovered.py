"""`mooring recover` on a new cluster whose disks have the volumes of a cluster that lost its database."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.cluster import life
from tests.cluster.installing import install
from tests.cluster.running import Running
from tests.cluster.sets import bound, events, hosts, rolled_out, web
from tests.until import until

pytestmark = [pytest.mark.needs("cluster"), pytest.mark.timeout(900)]

SETS = {"files": "mooring-directory", "images": "mooring-loop"}
"""Namespace → StorageClass of the set in it."""


@pytest.fixture
def clusters() -> Iterator[list[str]]:
    """Return the names of two clusters, and take them down at the end."""
    names: list[str] = []
    try:
        yield names
    finally:
        for name in names:
            life.down(name)


def _apply(cluster: Running) -> None:
    for namespace, storage_class in SETS.items():
        cluster.kubectl("create", "namespace", namespace)
        cluster.apply(namespace, *web(storage_class, size="64Mi", podManagementPolicy="Parallel"))


def _recover(cluster: Running, *arguments: str) -> list[dict[str, str]]:
    where = ("-n", "mooring-system", "exec", "deployment/mooring-controller", "-c", "controller", "--")
    found: list[dict[str, str]] = json.loads(cluster.kubectl(*where, "mooring", "recover", "-o", "json", *arguments))
    return found


def test_a_cluster_is_rebuilt_from_its_disks(clusters: list[str], tmp_path: Path) -> None:
    """After etcd was lost and each disk moved to another node, every ordinal of the re-applied sets reads its own file."""
    clusters.append("lost")
    lost = Running(life.up("lost", nodes=2))
    install(lost)
    _apply(lost)
    before = {}
    for namespace in SETS:
        rolled_out(lost, namespace)
        assert hosts(lost, namespace, 0, 1) == {"web-0": "web-0", "web-1": "web-1"}
        before[namespace] = bound(lost, namespace)
    uid = lost.json("get", "namespace", "kube-system")["metadata"]["uid"]
    for node in lost.nodes:
        lost.on(node).power_off()
        shutil.move(lost.on(node).pool_folder, tmp_path / node)
    life.down("lost")

    clusters.append("rebuilt")
    rebuilt = Running(life.up("rebuilt", nodes=2))
    for node, disk in zip(rebuilt.nodes, reversed(lost.nodes), strict=True):
        shutil.copytree(tmp_path / disk, rebuilt.on(node).pool_folder, symlinks=True, dirs_exist_ok=True)
    install(rebuilt)
    _apply(rebuilt)
    for namespace in SETS:
        until(
            lambda namespace=namespace: "another cluster" in events(rebuilt, namespace, "www-web-0"),  # type: ignore[misc]
            "the claim reports which cluster its volume belongs to",
        )
    shown = _recover(rebuilt)
    assert {(each["cluster"], each["result"]) for each in shown} == {(uid, "can be restored")}
    assert rebuilt.json("get", "pv")["items"] == []
    done = _recover(rebuilt, "--from-cluster", uid)
    assert [each["result"] for each in done] == ["restored"] * 4

    for namespace in SETS:
        rolled_out(rebuilt, namespace)
        assert hosts(rebuilt, namespace, 0, 1) == {"web-0": "web-0", "web-1": "web-1"}
        assert bound(rebuilt, namespace) == before[namespace]
    until(lambda: not _recover(rebuilt), "the manifests know this cluster")
