"""Tests of StatefulSets whose volumes are adopted, with a real driver and real mounts."""

import pytest

from tests.machine.engine_process import CLAIMS, PODS, SETS, VOLUMES, EngineProcess, stateful_set

pytestmark = pytest.mark.needs("root")


def _bring_up(engine: EngineProcess, **options: object) -> None:
    engine.create(SETS, stateful_set(**options))  # type: ignore[arg-type]
    engine.ready_pods("web-0", "web-1")


def _take_down(engine: EngineProcess) -> None:
    """Delete the set and its claims, and wait until the pods and claims are deleted."""
    engine.delete(f"{SETS}/web")
    engine.until(lambda: not engine.names(PODS), "the pods are deleted")
    for name in ("www-web-0", "www-web-1"):
        engine.delete(f"{CLAIMS}/{name}")
    engine.until(lambda: not engine.names(CLAIMS), "the claims are deleted")


def test_claims_are_bound_and_mounted(engine: EngineProcess) -> None:
    """A StatefulSet's claims are bound to volumes named after them, which are mounted at the pods' paths."""
    _bring_up(engine)
    for ordinal in (0, 1):
        claim = engine.get(f"{CLAIMS}/www-web-{ordinal}")
        assert "Bound" == claim["status"]["phase"]
        assert f"pvc-{claim['metadata']['uid']}" == claim["spec"]["volumeName"]
        assert {"app": "nginx"} == claim["metadata"]["labels"]
        assert str(engine.file(f"web-{ordinal}").parent) in engine.remains()["mounts"]


def test_a_file_survives_its_pod(engine: EngineProcess) -> None:
    """A recreated pod has the file that its predecessor wrote."""
    _bring_up(engine)
    before = {name: engine.get(f"{PODS}/{name}")["metadata"]["uid"] for name in ("web-0", "web-1")}
    for name in before:
        engine.file(name).write_text(name, encoding="utf-8")
        engine.delete(f"{PODS}/{name}")
    for name, uid in before.items():
        engine.until(
            lambda name=name, uid=uid: (found := engine.find(f"{PODS}/{name}")) and found["metadata"]["uid"] != uid,  # type: ignore[misc]
            f"{name} is recreated",
        )
        engine.ready_pods(name)
        assert name == engine.file(name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "storage_class", ["mooring-directory", pytest.param("mooring-loop", marks=pytest.mark.needs("loop"))]
)
def test_each_ordinal_adopts_its_former_volume(engine: EngineProcess, storage_class: str) -> None:
    """I2: after set and claims are deleted and applied again, each claim has a new UID and the old volume."""
    _bring_up(engine, storage_class=storage_class, size="64Mi")
    before = {}
    for name in ("www-web-0", "www-web-1"):
        claim = engine.get(f"{CLAIMS}/{name}")
        before[name] = (claim["metadata"]["uid"], claim["spec"]["volumeName"])
        engine.file(name.removeprefix("www-")).write_text(name, encoding="utf-8")
    _take_down(engine)
    assert [] == engine.remains()["mounts"]
    assert [] == engine.remains()["loops"]
    _bring_up(engine, storage_class=storage_class, size="64Mi")
    for name, (uid, volume) in before.items():
        claim = engine.get(f"{CLAIMS}/{name}")
        assert uid != claim["metadata"]["uid"]
        assert volume == claim["spec"]["volumeName"]
        assert name == engine.file(name.removeprefix("www-")).read_text(encoding="utf-8")
    assert 2 == len(engine.names(VOLUMES))


def test_a_volume_whose_object_was_deleted_is_restored(engine: EngineProcess) -> None:
    """The pool alone suffices: a deleted PersistentVolume is recreated from the volume's manifest."""
    _bring_up(engine)
    engine.file("web-0").write_text("data", encoding="utf-8")
    volume = engine.get(f"{CLAIMS}/www-web-0")["spec"]["volumeName"]
    _take_down(engine)
    engine.delete(f"{VOLUMES}/{volume}")
    engine.until(lambda: engine.find(f"{VOLUMES}/{volume}") is None, "the PersistentVolume is deleted")
    _bring_up(engine)
    assert "data" == engine.file("web-0").read_text(encoding="utf-8")


def test_scratch_volumes_are_deleted_with_their_claims(engine: EngineProcess) -> None:
    """I6: with policy Delete and adopt Never no object of the volume remains, and its data is moved to the trash."""
    _bring_up(engine, storage_class="mooring-scratch")
    engine.file("web-0").write_text("data", encoding="utf-8")
    _take_down(engine)
    engine.until(lambda: not engine.names(VOLUMES), "the volumes are deleted")
    assert [] == list((engine.state / "pool" / "volumes").iterdir())
    assert 2 == len(list((engine.state / "pool" / "trash").iterdir()))
    _bring_up(engine, storage_class="mooring-scratch")
    assert not engine.file("web-0").exists()


def test_a_stopped_engine_leaves_nothing_mounted_and_keeps_all_volumes(engine: EngineProcess) -> None:
    """SIGTERM unpublishes and unstages all volumes; the next start publishes those of the stored pods."""
    _bring_up(engine)
    engine.file("web-1").write_text("data", encoding="utf-8")
    assert 0 == engine.stop(), engine.log_tail()
    assert {"mounts": [], "loops": []} == engine.remains()
    assert engine.driver_pid() is None
    engine.start()
    engine.ready_pods("web-0", "web-1")
    assert "data" == engine.file("web-1").read_text(encoding="utf-8")


def test_a_second_engine_on_one_state_is_refused(engine: EngineProcess) -> None:
    """The second of two engines on one state directory exits with 78 and a message."""
    assert 78 == EngineProcess(engine.state).spawn().wait(60)
    assert "another engine already runs on" in engine.log_tail()


@pytest.mark.needs("loop")
def test_a_volume_that_cannot_be_mounted_is_an_event_and_one_line_in_the_log(engine: EngineProcess) -> None:
    """I7: ext4 refuses this combination of options; the pod waits, and can be deleted."""
    storage_class = {
        "metadata": {"name": "odd"},
        "provisioner": "csi.mooring.dev",
        "parameters": {"backend": "loop", "csi.storage.k8s.io/fstype": "ext4"},
        "mountOptions": ["data=journal", "delalloc"],
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    engine.create("/apis/storage.k8s.io/v1/storageclasses", storage_class)
    engine.create(SETS, stateful_set(replicas=1, storage_class="odd"))

    def reported() -> list[str]:
        events = engine.get("/api/v1/namespaces/default/events")["items"]
        return [event["message"] for event in events if event["reason"] == "FailedMount"]

    assert "delalloc" in engine.until(reported, "an Event has the reason")[0]
    engine.until(lambda: "delalloc" in engine.log_tail(), "the log has the reason")
    assert "Traceback" not in engine.log_tail()
    engine.delete(f"{SETS}/web")
    engine.until(lambda: not engine.names(PODS), "the pod is deleted")
