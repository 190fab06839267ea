"""The source of a new object's time, uid and generated name: the store's only clock and random source."""

import datetime as dt
import secrets
import uuid
from typing import Final

_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""The characters of generated names, as in Kubernetes: no vowels, so that they form no words."""

_LONGEST_BASE: Final = 58
"""Maximum length of a generated name's base: with five more characters the name fits into a label."""


class Origins:
    """The machine's clock and random source; tests may replace it."""

    def now(self, *, later: float = 0) -> str:
        """Return the time `later` seconds from now as an API timestamp, to the second."""
        moment = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=later)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def uid(self) -> str:
        """Return a uid for a new object."""
        return str(uuid.uuid4())

    def name(self, base: str) -> str:
        """Return a name that begins with `base`, the value of `metadata.generateName`."""
        return base[:_LONGEST_BASE] + "".join(secrets.choice(_ALPHABET) for _ in range(5))
