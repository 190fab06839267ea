"""The last refusal of a claim's volume: the annotation ``mooring.dev/last-refusal`` of the claim."""

import json
from dataclasses import asdict, dataclass

LONGEST_MESSAGE = 768
"""The number of characters of a stored message."""

LONGEST = 8192
"""The size in bytes up to which the annotation is read: every user who may change the claim may write to it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    A refused volume and the reason.

    :ivar code: name of a gRPC status code when the driver refused, a reason's code when the controller did
    :ivar time: in UTC (RFC 3339)
    :ivar asked: identifies the request; once the request differs, the refusal is void
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
    """Return the refusal in the annotation; None where there is none, or where Mooring did not write it."""
    if not annotation or len(annotation) > LONGEST:
        return None
    try:
        found = Refusal(**json.loads(annotation))
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (found.code, found.time, found.message, found.asked)
    return found if all(isinstance(each, str) for each in texts) else None
