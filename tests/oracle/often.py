"""How many cases the oracle is asked, and which; MOORING_ORACLE_EXAMPLES and MOORING_ORACLE_SEED choose."""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, seed, settings

from tests import sweeps
from tests.sweeps import times

EXAMPLES = times(int(os.environ.get("MOORING_ORACLE_EXAMPLES", "450")))
"""A world is asked about in seven ways: 450 of them make about 3,200 cases, and the other tests as many again."""

SEED = int(os.environ.get("MOORING_ORACLE_SEED", "0")) or sweeps.SEED
"""Printed at the end, so that the same cases can be asked again."""


def often(test: Callable[..., None]) -> Any:
    """Ask that many times, with that seed."""
    return seed(SEED)(settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))(test))
