"""A harness with the storage controllers, for tests of several controllers together."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.provisioner.controllers.harness import Harness, running


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    """The running controllers."""
    async with running(tmp_path) as created:
        yield created
