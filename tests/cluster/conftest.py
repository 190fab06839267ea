"""
Fixtures for the tests of this folder: a real Kubernetes, started by `make cluster` or else for these tests.

These tests are not part of `make test`; `make cluster-test` runs them.
"""

import time
import uuid
from collections.abc import Iterator

import pytest

from hack.cluster import life
from tests.cluster.installing import install, uninstall
from tests.cluster.running import Running
from tests.until import until

BEFORE = pytest.StashKey[set[str]]()


def _cluster_name(worker: str) -> str:
    """Return the name of the cluster: one for each worker of pytest-xdist, the developer's without workers."""
    return life.NAME if worker == "master" else f"{life.NAME}-{worker}"


LONG = ("test_node_loss", "test_recovered", "test_crashes", "test_adoption_soak", "test_walk_through")
"""Files that take minutes, the longest first. Started last, they would keep one cluster busy while the other is idle."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that take longest."""
    rank = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Record which clusters exist before the run."""
    before: set[str] = set(life.names())
    session.config.stash[BEFORE] = before


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take down the clusters of workers that ended without doing so themselves, as when the run is interrupted."""
    if hasattr(config, "workerinput") or BEFORE not in config.stash:
        return
    before = config.stash[BEFORE]
    for name in life.names():
        if name not in before and name.startswith(f"{life.NAME}-gw"):
            life.down(name)


@pytest.fixture(scope="session")
def cluster(worker_id: str) -> Iterator[Running]:
    """Return a cluster with two ready nodes; take it down at the end if it was started here."""
    name = _cluster_name(worker_id)
    ours = life.running(name) is None
    try:
        yield Running(life.up(name, nodes=2))
    finally:
        if ours:
            life.down(name)


@pytest.fixture(scope="session")
def mooring(cluster: Running, report_lines: list[str]) -> Iterator[Running]:
    """Return a cluster with Mooring installed from the image and the manifests of this checkout."""
    try:
        seconds = install(cluster)
        report_lines.append(f"installed: all its pods are Ready {seconds:.1f} s after kubectl apply -k")
        yield cluster
    finally:
        uninstall(cluster)


@pytest.fixture
def namespace(cluster: Running) -> Iterator[str]:
    """
    Create a namespace for one test, whose pods end without a grace period.

    Volumes of its claims are deleted at the end, by the provisioner that created them.
    """
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("-n", name, "delete", "statefulsets,pods", "--all", "--grace-period=1")
    cluster.kubectl("delete", "namespace", name)
    end = time.monotonic() + 60
    for volume in _left(cluster, name):
        cluster.kubectl("patch", "pv", volume, "-p", '{"spec": {"persistentVolumeReclaimPolicy": "Delete"}}')
    until(lambda: not _left(cluster, name), "the test's volumes go", seconds=end - time.monotonic())


def _left(cluster: Running, namespace: str) -> list[str]:
    return [
        volume["metadata"]["name"]
        for volume in cluster.json("get", "pv")["items"]
        if volume["spec"].get("claimRef", {}).get("namespace") == namespace
    ]
