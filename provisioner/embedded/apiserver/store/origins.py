"""Where a new object's time, uid and generated name come from: the only clock and chance of the store."""

import datetime as dt
import secrets
import uuid
from typing import Final

_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Letters and digits that make no words; those that Kubernetes uses."""

_LONGEST_BASE: Final = 58
"""A generated name, five characters longer, still fits a label."""


class Origins:
    """The machine's clock and random source; tests may put something else here."""

    def now(self, *, later: float = 0) -> str:
        """The time so many seconds from now, to the second, as the API writes it."""
        moment = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=later)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def uid(self) -> str:
        """A new object's uid."""
        return str(uuid.uuid4())

    def name(self, base: str) -> str:
        """A name that starts as `metadata.generateName` says."""
        return base[:_LONGEST_BASE] + "".join(secrets.choice(_ALPHABET) for _ in range(5))
