"""A fixture that runs a real engine for a test and removes it afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine.engine_process import EngineProcess


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    """A running engine with an empty state directory."""
    running = EngineProcess(tmp_path / "s")
    try:
        running.start()
        yield running
    finally:
        running.clean_up()
