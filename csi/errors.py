"""
The errors of the driver, as one tree. Services map each class to one gRPC code, and nothing else does.

CsiError
    InvalidArgument       a field is missing, malformed or not supported
    NotFound              no such volume, or nothing at that path
    AlreadyExists         it exists, but differently
    FailedPrecondition    not in this state; nothing was changed
    ResourceExhausted     no room
    OutOfRange            no such size, ever
    Aborted               another operation on the same volume is running
    Unavailable           too busy, or stopping; retry
    Internal              a system call or program failed

BadEnvironment is for the start only: the driver ends with exit code 78 and the message.
"""


class CsiError(Exception):
    """A refusal, with a message for users."""


class InvalidArgument(CsiError):
    """See the module."""


class NotFound(CsiError):
    """See the module."""


class AlreadyExists(CsiError):
    """See the module."""


class FailedPrecondition(CsiError):
    """See the module."""


class ResourceExhausted(CsiError):
    """See the module."""


class OutOfRange(CsiError):
    """See the module."""


class Aborted(CsiError):
    """See the module."""


class Unavailable(CsiError):
    """See the module."""


class Internal(CsiError):
    """See the module."""


class BadEnvironment(Exception):
    """The machine does not meet the driver's requirements; the message says what to do."""
