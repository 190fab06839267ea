"""Kill -9 of the engine and of the driver in the middle of the demo's work: everything converges (I5, I6)."""

import random
import threading
from collections.abc import Callable

import pytest

from tests.machine.engine_process import CLAIMS, PODS, SETS, VOLUMES, EngineProcess, RequestError, stateful_set
from tests.sweeps import FULL, SEED

pytestmark = [pytest.mark.needs("root"), pytest.mark.timeout(600)]

KILLS = 30 if FULL else 3
FIRST = {("engine",): 0, ("driver",): 3, ("engine", "driver"): 4}
"""The step that is interrupted first: three kills for each of the victims interrupt every step of the work once."""


class _Work:
    """The demo's work in small steps that may each be repeated."""

    def __init__(self, engine: EngineProcess, *, storage_class: str) -> None:
        self._engine = engine
        self._class = storage_class
        self._size = 32

    def ask_for_more(self) -> None:
        """From now on: a claim that is there grows by `grow`, one that comes back has its volume grow first."""
        self._size += 8

    def up(self) -> None:
        self._engine.create(SETS, stateful_set(storage_class=self._class, size=f"{self._size}Mi"))
        self._engine.ready_pods("web-0", "web-1")

    def check(self) -> None:
        """I2: each ordinal has its own token, or has none yet and gets it now."""
        for name in ("web-0", "web-1"):
            token = self._engine.file(name)
            if token.exists():
                assert name == token.read_text(encoding="utf-8")
            else:
                assert not self._written, f"{name} lost its file"
                token.write_text(name, encoding="utf-8")
        self._written = True

    _written = False

    def grow(self) -> None:
        for name in ("www-web-0", "www-web-1"):
            wanted = {"storage": f"{self._size}Mi"}
            claim = self._engine.patch(f"{CLAIMS}/{name}", {"spec": {"resources": {"requests": wanted}}})
            volume = f"{VOLUMES}/{claim['spec']['volumeName']}"
            self._engine.until(
                lambda volume=volume, wanted=wanted: self._engine.get(volume)["spec"]["capacity"] == wanted,  # type: ignore[misc]
                f"the volume of {name} grows",
            )

    def restart_pods(self) -> None:
        for name in ("web-0", "web-1"):
            self._engine.delete(f"{PODS}/{name}")

    def down(self) -> None:
        engine = self._engine
        engine.delete(f"{SETS}/web")
        engine.until(lambda: not engine.names(PODS), "the pods are gone")
        for name in ("www-web-0", "www-web-1"):
            engine.delete(f"{CLAIMS}/{name}")
        engine.until(lambda: not engine.names(CLAIMS), "the claims are gone")


def _again(engine: EngineProcess, step: Callable[[], None]) -> None:
    """Repeat a step over the holes that a kill makes."""

    def once() -> bool:
        try:
            step()
        except (OSError, RequestError, AssertionError):
            if engine.process is not None and engine.process.poll() is not None:
                return False
            raise
        return True

    engine.until(once, "the step succeeds", patience=120)


@pytest.mark.parametrize(
    ("victims", "storage_class"),
    [
        (("engine",), "mooring-directory"),
        (("driver",), "mooring-directory"),
        pytest.param(("engine", "driver"), "mooring-loop", marks=pytest.mark.needs("loop")),
    ],
)
def test_kills_at_random_moments(engine: EngineProcess, victims: tuple[str, ...], storage_class: str) -> None:
    """I5, I6: every interrupted step converges when repeated, no ordinal loses its file, volumes grow, nothing is left."""
    chance = random.Random(f"{SEED} {victims}")  # noqa: S311
    work = _Work(engine, storage_class=storage_class)
    steps = (work.up, work.check, work.grow, work.restart_pods, work.up, work.check, work.down)
    work.up()
    work.check()
    for kill in range(KILLS):
        step = steps[(FIRST[victims] + kill) % len(steps)]
        if step in (work.grow, work.down):
            work.ask_for_more()
        moment = chance.uniform(0.0, 0.8)
        stop = threading.Event()
        doing = threading.Thread(target=_quietly, args=(step, stop))
        doing.start()
        stop.wait(moment)
        if chance.choice(victims) == "engine":
            engine.kill()
            engine.start()
        else:
            engine.kill_driver()
        doing.join()
        _again(engine, step)
    _again(engine, work.up)
    _again(engine, work.grow)
    _again(engine, work.check)
    _again(engine, work.down)
    _everything_goes(engine)


def _quietly(step: Callable[[], None], stop: threading.Event) -> None:
    """Do the step; that it fails when its server is killed is the point."""
    try:
        step()
    except (OSError, RequestError, AssertionError):
        stop.set()


def _everything_goes(engine: EngineProcess) -> None:
    """I6: volumes set to Delete and purged leave no object, mount, manifest or file."""
    for name in engine.names(VOLUMES):
        engine.patch(f"{VOLUMES}/{name}", {"spec": {"persistentVolumeReclaimPolicy": "Delete"}})
    engine.until(lambda: not engine.names(VOLUMES), "the volumes are gone")
    assert [] == list((engine.state / "pool" / "volumes").iterdir())
    assert {"mounts": [], "loops": []} == engine.remains()
    assert 0 == engine.stop(), engine.log_tail()
    assert [] == list((engine.state / "agent").iterdir())
    assert [] == list((engine.state / "staging").iterdir())
    assert [] == list((engine.state / "pods").iterdir())
