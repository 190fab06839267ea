"""A real engine for a test, gone after it whatever happens."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine.living import Living


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Living]:
    """An engine that runs on an empty state directory."""
    living = Living(tmp_path / "s")
    try:
        living.start()
        yield living
    finally:
        living.clean_up()
