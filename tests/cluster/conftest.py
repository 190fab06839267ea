"""
A real Kubernetes for the tests in this folder: the one that `make cluster` started, else one that is started for them.

These tests are not part of `make test`; `make cluster-test` runs them.
"""

import uuid
from collections.abc import Iterator

import pytest

from hack.cluster import life
from tests.cluster.running import Running


@pytest.fixture(scope="session")
def cluster() -> Iterator[Running]:
    """A cluster with two nodes that are ready; taken down at the end if it was started here."""
    ours = life.running() is None
    try:
        yield Running(life.up(nodes=2))
    finally:
        if ours:
            life.down()


@pytest.fixture
def namespace(cluster: Running) -> Iterator[str]:
    """A namespace for one test, whose pods have the least time to end."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("-n", name, "delete", "pods,statefulsets", "--all", "--grace-period=1")
    cluster.kubectl("delete", "namespace", name)
