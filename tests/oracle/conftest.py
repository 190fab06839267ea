"""One oracle for all tests; how many cases they asked is printed at the end, with the seed."""

from collections.abc import Iterator

import pytest

from tests.oracle.upstream import Upstream, build


@pytest.fixture(scope="session")
def upstream(request: pytest.FixtureRequest) -> Iterator[Upstream]:
    """Kubernetes' own answers."""
    found = Upstream(build())
    yield found
    found.close()
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    seed = request.config.getoption("--hypothesis-seed")
    assert reporter is not None
    reporter.write_line(f"oracle: {found.cases} cases, hypothesis seed {'of the day' if seed is None else seed}")
