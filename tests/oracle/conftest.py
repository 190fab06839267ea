"""One oracle for all tests of a process; how many cases it was asked is printed at the end, with the seed."""

from collections.abc import Iterator

import pytest

from tests.oracle.often import SEED
from tests.oracle.upstream import Upstream, build


@pytest.fixture(scope="session")
def upstream(report_lines: list[str]) -> Iterator[Upstream]:
    """Kubernetes' own answers."""
    found = Upstream(build())
    yield found
    report_lines.append(f"oracle: {found.cases} cases, MOORING_ORACLE_SEED={SEED}")
    found.close()
