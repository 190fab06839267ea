"""The command against the embedded API server, which runs in a thread of this process."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from provisioner.cli.main import run
from provisioner.embedded.apiserver.http.serving import serve
from provisioner.embedded.apiserver.store.store import Store


@dataclass
class Ran:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


Mooring = Callable[..., Ran]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory whose kubeconfig leads to a running server."""
    started, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def live() -> None:
        store = Store(tmp_path / "engine.db")
        async with serve(store, port=0, tls=None, token="t") as port:
            config = {
                "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "c", "user": {"token": "t"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            }
            (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config), encoding="utf-8")
            loops.append(asyncio.get_running_loop())
            started.set()
            await stop.wait()
        store.close()

    monkeypatch.setenv("MOORING_STATE", str(tmp_path))
    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    assert started.wait(20)
    yield tmp_path
    loops[0].call_soon_threadsafe(stop.set)
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def mooring(state: Path, capsys: pytest.CaptureFixture[str]) -> Mooring:
    """Run the command, as a person would type it."""
    del state

    def type_it(*arguments: str) -> Ran:
        code = run(list(arguments))
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return type_it
