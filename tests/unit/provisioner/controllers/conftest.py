"""A world of the storage controllers, for tests that watch them work together."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.provisioner.controllers.world import World, running


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The controllers, running."""
    async with running(tmp_path) as made:
        yield made
