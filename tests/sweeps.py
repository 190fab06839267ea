"""
The size of long sweeps: a slice of each in every run, all of it in `make nightly`.

MOORING_SWEEP=full runs all. MOORING_TEST_SEED chooses the cases; each run prints it, so that a run can be repeated.
"""

import os
import secrets
from typing import Final

FULL: Final = os.environ.get("MOORING_SWEEP") == "full"
SLICE: Final = 0.2
"""The part of a sweep that a run has by default."""

SEED: Final = int(os.environ.setdefault("MOORING_TEST_SEED", str(secrets.randbelow(1 << 31) + 1)))
"""The seed of all random tests of a run; the workers of pytest-xdist inherit it."""


def times(full: int) -> int:
    """Return the number of repetitions for one of `full` in a full sweep: at least 1."""
    return full if FULL else max(1, round(full * SLICE))


def described() -> str:
    """Return the seed and the size of the slice, for the summary of a run."""
    return f"sweeps: {'all' if FULL else f'{SLICE:.0%}'} of each, MOORING_TEST_SEED={SEED}"
