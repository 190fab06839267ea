"""Waiting for something on the server: by looking again, with a sign of life after two seconds."""

import sys
import time
from collections.abc import Callable

from provisioner.cli.exits import TIMED_OUT, CommandFailed

STEP_SECONDS = 0.1
QUIET_SECONDS = 2.0


def until(look: Callable[[], str], *, seconds: float, why: Callable[[], str] = str) -> None:
    """
    Look until `look` returns "", else say what is missing, and `why`, where that is known ("" where not).

    Raises CommandFailed with the exit code for a time that ran out.
    """
    started = time.monotonic()
    told = ""
    # unbounded: until the timeout that the user gave
    while missing := look():
        passed = time.monotonic() - started
        if passed > seconds:
            raise CommandFailed(f"after {seconds:g} seconds still {missing}{_because(why())}", code=TIMED_OUT)
        if passed > QUIET_SECONDS and missing != told:
            sys.stderr.write(f"waiting: {missing}{_because(why())}\n")
            told = missing
        time.sleep(STEP_SECONDS)


def _because(why: str) -> str:
    return f": {why}" if why else ""
