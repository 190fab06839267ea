"""Tests of the engine without root: in a user and mount namespace, with the directory backend."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine.engine_process import PODS, SETS, EngineProcess, stateful_set

pytestmark = pytest.mark.needs("userns")

AS_NOBODY = ("unshare", "--user", "--map-user=65534", "--map-group=65534", "--")
"""Runs a command as an ordinary user without capabilities who can still read this checkout."""


@pytest.fixture
def rootless(tmp_path: Path) -> Iterator[EngineProcess]:
    """A running engine of an ordinary user."""
    running = EngineProcess(tmp_path / "s", prefix=AS_NOBODY)
    try:
        running.start()
        yield running
    finally:
        running.clean_up()


def test_an_ordinary_user_gets_volumes(rootless: EngineProcess) -> None:
    """A set's volumes are mounted, visible through the engine's mount namespace, and survive their pods."""
    rootless.create(SETS, stateful_set())
    rootless.ready_pods("web-0", "web-1")
    rootless.file("web-0").write_text("data", encoding="utf-8")
    before = rootless.get(f"{PODS}/web-0")["metadata"]["uid"]
    rootless.delete(f"{PODS}/web-0")
    rootless.until(
        lambda: (pod := rootless.find(f"{PODS}/web-0")) and pod["metadata"]["uid"] != before, "web-0 is recreated"
    )
    rootless.ready_pods("web-0")
    assert "data" == rootless.file("web-0").read_text(encoding="utf-8")


@pytest.mark.limit("rootless-paths")
def test_outside_the_namespace_nothing_is_mounted(rootless: EngineProcess) -> None:
    """Outside the namespace the mount point is an empty directory whose mode refuses writes."""
    rootless.create(SETS, stateful_set(replicas=1))
    rootless.ready_pods("web-0")
    stub = rootless.state / "pods" / "default" / "web-0" / "www"
    assert [] == rootless.remains()["mounts"]
    assert 0o555 == stat.S_IMODE(stub.stat().st_mode)


def test_a_stopped_engine_publishes_the_same_volumes_again(rootless: EngineProcess) -> None:
    """After an orderly stop the next engine publishes the same volumes in a new namespace."""
    rootless.create(SETS, stateful_set(replicas=1))
    rootless.ready_pods("web-0")
    rootless.file("web-0").write_text("data", encoding="utf-8")
    assert 0 == rootless.stop(), rootless.log_tail()
    rootless.start()
    rootless.ready_pods("web-0")
    assert "data" == rootless.file("web-0").read_text(encoding="utf-8")


def test_a_killed_engine_publishes_the_same_volumes_again(rootless: EngineProcess) -> None:
    """I5: SIGKILL ends the namespace and its mounts; the next engine publishes the same volumes."""
    rootless.create(SETS, stateful_set(replicas=1))
    rootless.ready_pods("web-0")
    rootless.file("web-0").write_text("data", encoding="utf-8")
    rootless.kill()
    rootless.start()
    rootless.ready_pods("web-0")
    assert "data" == rootless.file("web-0").read_text(encoding="utf-8")


def test_loop_volumes_are_refused_with_the_reason(rootless: EngineProcess) -> None:
    """I7: for a claim of a class that needs root an Event has the reason, and the pod waits."""
    rootless.create(SETS, stateful_set(replicas=1, storage_class="mooring-loop"))

    def reported() -> list[str]:
        events = rootless.get("/api/v1/namespaces/default/events")["items"]
        return [event["message"] for event in events if event["reason"] == "ProvisioningFailed"]

    assert "root" in rootless.until(reported, "an Event has the reason")[0]
