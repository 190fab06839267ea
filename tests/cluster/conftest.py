"""
A real Kubernetes for the tests in this folder: the one that `make cluster` started, else one that is started for them.

These tests are not part of `make test`; `make cluster-test` runs them.
"""

import time
import uuid
from collections.abc import Iterator

import pytest

from hack.cluster import life
from tests.cluster.installing import install, uninstall
from tests.cluster.running import Running
from tests.cluster.sets import until


@pytest.fixture(scope="session")
def cluster() -> Iterator[Running]:
    """A cluster with two nodes that are ready; taken down at the end if it was started here."""
    ours = life.running() is None
    try:
        yield Running(life.up(nodes=2))
    finally:
        if ours:
            life.down()


FIGURES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Figures are kept until the end."""
    config.stash[FIGURES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was measured."""
    for figure in config.stash[FIGURES]:
        terminalreporter.write_line(figure)


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> list[str]:
    """Sentences with figures, which are printed at the end."""
    return pytestconfig.stash[FIGURES]


@pytest.fixture(scope="session")
def mooring(cluster: Running, figures: list[str]) -> Iterator[Running]:
    """A cluster with Mooring on it, the image built and the manifests as they are."""
    try:
        seconds = install(cluster)
        figures.append(f"installed: all its pods are Ready {seconds:.1f} s after kubectl apply -k")
        yield cluster
    finally:
        uninstall(cluster)


@pytest.fixture
def namespace(cluster: Running) -> Iterator[str]:
    """
    A namespace for one test, whose pods have the least time to end.

    Volumes that its claims left are deleted by what provisioned them, so that nothing stays.
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
