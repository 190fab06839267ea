"""Exit codes of `mooring`; docs/cli.md has the same table."""

from typing import Final

OK: Final = 0
FAILED: Final = 1
"""The server refused, an object does not exist, or the explained object is unhealthy."""
USAGE: Final = 2
"""The command line is invalid."""
BAD_INPUT: Final = 65
"""A manifest or kubeconfig is invalid."""
UNREACHABLE: Final = 69
"""No server answers."""
INTERNAL: Final = 70
"""An internal error of the command (EX_SOFTWARE of sysexits.h)."""
TIMED_OUT: Final = 75
"""The condition was not met before the timeout."""
BAD_ENVIRONMENT: Final = 78
"""The machine does not meet a requirement."""
INTERRUPTED: Final = 130

MEANINGS: Final = {
    OK: "done",
    FAILED: "refused, not found, or unhealthy",
    USAGE: "the command line is invalid",
    BAD_INPUT: "a manifest or kubeconfig is invalid",
    UNREACHABLE: "no server answers",
    INTERNAL: "an internal error of Mooring; please report it",
    TIMED_OUT: "the condition was not met before the timeout",
    BAD_ENVIRONMENT: "the machine does not meet a requirement",
    INTERRUPTED: "interrupted from the keyboard",
}


class CommandError(Exception):
    """An error that ends the command with an exit code and a message on stderr."""

    def __init__(self, message: str, *, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
