"""One oracle for all tests; how many cases they asked is printed at the end, with the seed."""

from collections.abc import Iterator

import pytest

from tests.oracle.often import SEED
from tests.oracle.upstream import Upstream, build

ASKED = pytest.StashKey[int]()


@pytest.fixture(scope="session")
def upstream(pytestconfig: pytest.Config) -> Iterator[Upstream]:
    """Kubernetes' own answers."""
    found = Upstream(build())
    yield found
    pytestconfig.stash[ASKED] = found.cases
    found.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was asked."""
    if ASKED in config.stash:
        terminalreporter.write_line(f"oracle: {config.stash[ASKED]} cases, MOORING_ORACLE_SEED={SEED}")
