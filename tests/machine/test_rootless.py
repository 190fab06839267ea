"""The engine without root: its own user and mount namespace, the directory backend."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine.engine_process import PODS, SETS, EngineProcess, stateful_set

pytestmark = pytest.mark.needs("userns")

AS_NOBODY = ("unshare", "--user", "--map-user=65534", "--map-group=65534", "--")
"""An ordinary user without any capability, who may still read this checkout wherever it lies."""


@pytest.fixture
def rootless(tmp_path: Path) -> Iterator[EngineProcess]:
    """An engine of an ordinary user."""
    running = EngineProcess(tmp_path / "s", prefix=AS_NOBODY)
    try:
        running.start()
        yield running
    finally:
        running.clean_up()


def test_an_ordinary_user_gets_volumes(rootless: EngineProcess) -> None:
    """Without root a set's volumes are mounted, seen through the engine's namespace, and survive their pods."""
    rootless.create(SETS, stateful_set())
    rootless.ready_pods("web-0", "web-1")
    rootless.file("web-0").write_text("kept", encoding="utf-8")
    before = rootless.get(f"{PODS}/web-0")["metadata"]["uid"]
    rootless.delete(f"{PODS}/web-0")
    rootless.until(
        lambda: (pod := rootless.find(f"{PODS}/web-0")) and pod["metadata"]["uid"] != before, "web-0 comes back"
    )
    rootless.ready_pods("web-0")
    assert "kept" == rootless.file("web-0").read_text(encoding="utf-8")


@pytest.mark.limit("rootless-paths")
def test_outside_the_namespace_nothing_is_mounted(rootless: EngineProcess) -> None:
    """Outside the namespace nothing is mounted, and the directory in its place refuses writes by its mode."""
    rootless.create(SETS, stateful_set(replicas=1))
    rootless.ready_pods("web-0")
    stub = rootless.state / "pods" / "default" / "web-0" / "www"
    assert [] == rootless.remains()["mounts"]
    assert 0o555 == stat.S_IMODE(stub.stat().st_mode)


def test_a_stopped_engine_publishes_the_same_volumes_again(rootless: EngineProcess) -> None:
    """After an orderly stop the next engine publishes the same volumes in a namespace of its own."""
    rootless.create(SETS, stateful_set(replicas=1))
    rootless.ready_pods("web-0")
    rootless.file("web-0").write_text("kept", encoding="utf-8")
    assert 0 == rootless.stop(), rootless.log_tail()
    rootless.start()
    rootless.ready_pods("web-0")
    assert "kept" == rootless.file("web-0").read_text(encoding="utf-8")


def test_a_killed_engine_publishes_the_same_volumes_again(rootless: EngineProcess) -> None:
    """I5: kill -9 takes the namespace and its mounts along; the next engine publishes the same bytes again."""
    rootless.create(SETS, stateful_set(replicas=1))
    rootless.ready_pods("web-0")
    rootless.file("web-0").write_text("kept", encoding="utf-8")
    rootless.kill()
    rootless.start()
    rootless.ready_pods("web-0")
    assert "kept" == rootless.file("web-0").read_text(encoding="utf-8")


def test_loop_volumes_are_refused_with_the_reason(rootless: EngineProcess) -> None:
    """I7: a claim of a class that needs root says so in an Event, and the pod waits."""
    rootless.create(SETS, stateful_set(replicas=1, storage_class="mooring-loop"))

    def said() -> list[str]:
        events = rootless.get("/api/v1/namespaces/default/events")["items"]
        return [event["message"] for event in events if event["reason"] == "ProvisioningFailed"]

    assert "root" in rootless.until(said, "an Event says why")[0]
