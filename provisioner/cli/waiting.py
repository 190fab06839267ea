"""Wait for a condition by polling, with a progress message after two seconds."""

import sys
import time
from collections.abc import Callable

from provisioner.cli.exits import TIMED_OUT, CommandError

STEP_SECONDS = 0.1
QUIET_SECONDS = 2.0


def until(check: Callable[[], str], *, seconds: float, why: Callable[[], str] = str) -> None:
    """
    Poll until `check` returns "", which means that the condition is met; else it returns what is missing.

    `why` returns the reason for that, "" when unknown. Raises CommandError with TIMED_OUT after `seconds`.
    """
    started = time.monotonic()
    reported = ""
    # unbounded: until the user's timeout
    while missing := check():
        elapsed = time.monotonic() - started
        if elapsed > seconds:
            raise CommandError(f"after {seconds:g} seconds still {missing}{_because(why())}", code=TIMED_OUT)
        if elapsed > QUIET_SECONDS and missing != reported:
            sys.stderr.write(f"waiting: {missing}{_because(why())}\n")
            reported = missing
        time.sleep(STEP_SECONDS)


def _because(why: str) -> str:
    return f": {why}" if why else ""
