"""
What a caller of the driver is told, as one tree. Services map each kind to one gRPC code, and nothing else does.

CsiError
    InvalidArgument       a field is missing, malformed or not supported
    NotFound              no such volume, or nothing at that path
    AlreadyExists         it exists, but differently
    FailedPrecondition    not in this state; nothing was changed
    ResourceExhausted     no room
    OutOfRange            no such size, ever
    Aborted               another operation on the same volume is going on
    Unavailable           too busy, or stopping; ask again
    Internal              the machine did not do what was asked

BadEnvironment is for the start only: the driver ends with exit code 78 and the sentence.
"""


class CsiError(Exception):
    """A refusal; its text is a sentence for people."""


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
    """The machine is not as the driver needs it; the text says what to do."""
