"""Fixtures: the command line with the embedded API server, which runs in a thread of this process."""

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
from tests import builders


@dataclass
class Result:
    """The output and the exit code of a command."""

    code: int
    out: str
    err: str


Mooring = Callable[..., Result]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a state directory whose kubeconfig selects a running server."""
    started, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve_until_stopped() -> None:
        store = Store(tmp_path / "engine.db")
        async with serve(store, port=0, tls=None, token="t") as port:
            config = builders.kubeconfig(f"http://127.0.0.1:{port}", token="t")
            (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config), encoding="utf-8")
            loops.append(asyncio.get_running_loop())
            started.set()
            await stop.wait()
        store.close()

    monkeypatch.setenv("MOORING_STATE", str(tmp_path))
    thread = threading.Thread(target=lambda: asyncio.run(serve_until_stopped()))
    thread.start()
    assert started.wait(20)
    yield tmp_path
    loops[0].call_soon_threadsafe(stop.set)
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def mooring(state: Path, capsys: pytest.CaptureFixture[str]) -> Mooring:
    """Return a function that runs the command with arguments."""
    del state

    def run_command(*arguments: str) -> Result:
        code = run(list(arguments))
        printed = capsys.readouterr()
        return Result(code, printed.out, printed.err)

    return run_command
