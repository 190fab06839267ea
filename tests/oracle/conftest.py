"""One oracle for all tests of a process; the number of cases and the seed are printed at the end."""

from collections.abc import Iterator

import pytest

from tests.oracle.often import SEED
from tests.oracle.upstream import Upstream, build


@pytest.fixture(scope="session")
def upstream(report_lines: list[str]) -> Iterator[Upstream]:
    """Return the process with upstream's code."""
    found = Upstream(build())
    yield found
    report_lines.append(f"oracle: {found.cases} cases, MOORING_ORACLE_SEED={SEED}")
    found.close()
