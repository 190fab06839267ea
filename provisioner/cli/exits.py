"""Exit codes of `mooring`, for scripts; docs/cli.md has the same table."""

from typing import Final

OK: Final = 0
FAILED: Final = 1
"""The server refused, an object is not there, or what was asked about is not well."""
USAGE: Final = 2
"""The command line cannot be understood."""
BAD_INPUT: Final = 65
"""A manifest or kubeconfig cannot be read."""
UNREACHABLE: Final = 69
"""No server answers."""
INTERNAL: Final = 70
"""A fault of the command itself (EX_SOFTWARE of sysexits.h)."""
TIMED_OUT: Final = 75
"""It did not come about in the time given."""
BAD_ENVIRONMENT: Final = 78
"""The machine is not as it is needed."""
INTERRUPTED: Final = 130

MEANINGS: Final = {
    OK: "done",
    FAILED: "refused, not found, or not well",
    USAGE: "the command line cannot be understood",
    BAD_INPUT: "a manifest or kubeconfig cannot be read",
    UNREACHABLE: "no server answers",
    INTERNAL: "a fault in Mooring itself; please report it",
    TIMED_OUT: "it did not come about in the time given",
    BAD_ENVIRONMENT: "the machine is not as it is needed",
    INTERRUPTED: "interrupted from the keyboard",
}


class CommandFailed(Exception):
    """Ends the command with a code and a sentence on stderr."""

    def __init__(self, message: str, *, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
