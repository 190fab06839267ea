"""The number of cases and the seed: MOORING_ORACLE_EXAMPLES and MOORING_ORACLE_SEED set them."""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, seed, settings

from tests import sweeps
from tests.sweeps import times

EXAMPLES = times(int(os.environ.get("MOORING_ORACLE_EXAMPLES", "450")))
"""The number of scenarios of a test. One has seven cases: 450 have about 3,200, and the other tests as many again."""

SEED = int(os.environ.get("MOORING_ORACLE_SEED", "0")) or sweeps.SEED
"""The seed. It is printed at the end, so that the same cases can be repeated."""


def often(test: Callable[..., None]) -> Any:
    """Return the test with that number of examples and that seed."""
    return seed(SEED)(settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))(test))
