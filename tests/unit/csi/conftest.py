"""A driver for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.csi.services.driver import Driver, running


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    """With a fresh pool."""
    with running(tmp_path) as found:
        yield found
