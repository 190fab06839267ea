"""The last refusal of a claim's volume: the annotation ``mooring.dev/last-refusal`` of the claim."""

import json
from dataclasses import asdict, dataclass

LONGEST_MESSAGE = 768
"""Characters of the message that are kept."""

LONGEST = 8192
"""Bytes of an annotation that is read at all: whoever may change the claim may write anything into it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    What was refused, and why.

    `code` is a gRPC status code's name where the driver refused, and a reason's code where Mooring did. `time` is a UTC
    time as RFC 3339 writes it. `asked` identifies what was asked for: once that differs, the refusal is void.
    """

    code: str
    time: str
    message: str
    asked: str

    def write(self) -> str:
        """Return the annotation."""
        message = self.message
        if len(message) > LONGEST_MESSAGE:
            message = f"{message[: LONGEST_MESSAGE - 1]}…"
        return json.dumps(asdict(self) | {"message": message}, separators=(",", ":"), ensure_ascii=False)


def read(annotation: str) -> Refusal | None:
    """Return what the annotation says; None where there is none, or where it was not written by Mooring."""
    if not annotation or len(annotation) > LONGEST:
        return None
    try:
        found = Refusal(**json.loads(annotation))
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (found.code, found.time, found.message, found.asked)
    return found if all(isinstance(each, str) for each in texts) else None
