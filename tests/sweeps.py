"""
How much of a long sweep is run: a slice of it in every run, all of it in `make nightly`.

MOORING_SWEEP=full asks for all. MOORING_TEST_SEED chooses which cases; each run prints it, so that they can be run again.
"""

import os
import secrets
from typing import Final

FULL: Final = os.environ.get("MOORING_SWEEP") == "full"
SLICE: Final = 0.2
"""The part of a sweep that a run has which is not asked for all."""

SEED: Final = int(os.environ.setdefault("MOORING_TEST_SEED", str(secrets.randbelow(1 << 31) + 1)))
"""Of all random tests of a run: the workers of pytest-xdist inherit it."""


def times(full: int) -> int:
    """Return how often to repeat what a full sweep repeats that often: at least once."""
    return full if FULL else max(1, round(full * SLICE))


def described() -> str:
    """Return the seed and the size of the slice, for the end of a run."""
    return f"sweeps: {'all' if FULL else f'{SLICE:.0%}'} of each, MOORING_TEST_SEED={SEED}"
