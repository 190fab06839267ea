"""Tests that all objects and mounts converge after SIGKILL of the engine or the driver (I5, I6)."""

import random
import threading
from collections.abc import Callable

import pytest

from tests.machine.engine_process import CLAIMS, PODS, SETS, VOLUMES, EngineProcess, RequestError, stateful_set
from tests.sweeps import FULL, SEED

pytestmark = [pytest.mark.needs("root"), pytest.mark.timeout(600)]

KILLS = 30 if FULL else 3
FIRST = {("engine",): 0, ("driver",): 3, ("engine", "driver"): 4}
"""The step that is interrupted first: with three kills for each parameter set, every step is interrupted once."""


class _Work:
    """The demo's steps, each of which may be repeated."""

    def __init__(self, engine: EngineProcess, *, storage_class: str) -> None:
        self._engine = engine
        self._class = storage_class
        self._size = 32

    def increase_size(self) -> None:
        """Increase the size for `expand`, and for claims that are created again and adopt their volumes."""
        self._size += 8

    def up(self) -> None:
        self._engine.create(SETS, stateful_set(storage_class=self._class, size=f"{self._size}Mi"))
        self._engine.ready_pods("web-0", "web-1")

    def check(self) -> None:
        """I2: check that each ordinal has its own token; write the token if it has none yet."""
        for name in ("web-0", "web-1"):
            token = self._engine.file(name)
            if token.exists():
                assert name == token.read_text(encoding="utf-8")
            else:
                assert not self._written, f"{name} lost its file"
                token.write_text(name, encoding="utf-8")
        self._written = True

    _written = False

    def expand(self) -> None:
        for name in ("www-web-0", "www-web-1"):
            requested = {"storage": f"{self._size}Mi"}
            claim = self._engine.patch(f"{CLAIMS}/{name}", {"spec": {"resources": {"requests": requested}}})
            volume = f"{VOLUMES}/{claim['spec']['volumeName']}"
            self._engine.until(
                lambda volume=volume, requested=requested: self._engine.get(volume)["spec"]["capacity"] == requested,  # type: ignore[misc]
                f"the volume of {name} is expanded",
            )

    def restart_pods(self) -> None:
        for name in ("web-0", "web-1"):
            self._engine.delete(f"{PODS}/{name}")

    def down(self) -> None:
        engine = self._engine
        engine.delete(f"{SETS}/web")
        engine.until(lambda: not engine.names(PODS), "the pods are deleted")
        for name in ("www-web-0", "www-web-1"):
            engine.delete(f"{CLAIMS}/{name}")
        engine.until(lambda: not engine.names(CLAIMS), "the claims are deleted")


def _repeat(engine: EngineProcess, step: Callable[[], None]) -> None:
    """Repeat a step until it succeeds, since a kill may interrupt it."""

    def once() -> bool:
        try:
            step()
        except (OSError, RequestError, AssertionError):
            if engine.process is not None and engine.process.poll() is not None:
                return False
            raise
        return True

    engine.until(once, "the step succeeds", seconds=120)


@pytest.mark.parametrize(
    ("victims", "storage_class"),
    [
        (("engine",), "mooring-directory"),
        (("driver",), "mooring-directory"),
        pytest.param(("engine", "driver"), "mooring-loop", marks=pytest.mark.needs("loop")),
    ],
)
def test_kills_at_random_moments(engine: EngineProcess, victims: tuple[str, ...], storage_class: str) -> None:
    """I5, I6: each interrupted step converges when repeated; no file is lost, volumes are expanded, nothing is left."""
    chance = random.Random(f"{SEED} {victims}")  # noqa: S311
    work = _Work(engine, storage_class=storage_class)
    steps = (work.up, work.check, work.expand, work.restart_pods, work.up, work.check, work.down)
    work.up()
    work.check()
    for kill in range(KILLS):
        step = steps[(FIRST[victims] + kill) % len(steps)]
        if step in (work.expand, work.down):
            work.increase_size()
        moment = chance.uniform(0.0, 0.8)
        stop = threading.Event()
        running = threading.Thread(target=_run_ignoring_errors, args=(step, stop))
        running.start()
        stop.wait(moment)
        if chance.choice(victims) == "engine":
            engine.kill()
            engine.start()
        else:
            engine.kill_driver()
        running.join()
        _repeat(engine, step)
    _repeat(engine, work.up)
    _repeat(engine, work.expand)
    _repeat(engine, work.check)
    _repeat(engine, work.down)
    _delete_everything(engine)


def _run_ignoring_errors(step: Callable[[], None], stop: threading.Event) -> None:
    """Execute the step; it may fail when the engine is killed."""
    try:
        step()
    except (OSError, RequestError, AssertionError):
        stop.set()


def _delete_everything(engine: EngineProcess) -> None:
    """I6: set the volumes to Delete, and check that no object, mount, manifest or file of them remains."""
    for name in engine.names(VOLUMES):
        engine.patch(f"{VOLUMES}/{name}", {"spec": {"persistentVolumeReclaimPolicy": "Delete"}})
    engine.until(lambda: not engine.names(VOLUMES), "the volumes are deleted")
    assert [] == list((engine.state / "pool" / "volumes").iterdir())
    assert {"mounts": [], "loops": []} == engine.remains()
    assert 0 == engine.stop(), engine.log_tail()
    assert [] == list((engine.state / "agent").iterdir())
    assert [] == list((engine.state / "staging").iterdir())
    assert [] == list((engine.state / "pods").iterdir())
