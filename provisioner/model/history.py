"""The claims that held a volume, first to last: the annotation ``mooring.dev/history`` of its PersistentVolume."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from provisioner import limits
from provisioner.model import names

MOST = limits.HISTORY_CLAIMS
"""Claims that the annotation tells of at most, the latest ones; the driver's manifest has them all."""


@dataclass(frozen=True, slots=True)
class Held:
    """One claim that had the volume. `since` is a UTC time as RFC 3339 writes it; `stateful_set` "" for no ordinal."""

    namespace: str
    claim: str
    claim_uid: str
    stateful_set: str
    ordinal: str
    since: str

    @classmethod
    def of(cls, labels: Mapping[str, str], *, since: str) -> "Held":
        """From a holder's labels."""
        return cls(
            namespace=labels.get(names.HOLDER_NAMESPACE, ""),
            claim=labels.get(names.HOLDER_CLAIM, ""),
            claim_uid=labels.get(names.HOLDER_CLAIM_UID, ""),
            stateful_set=labels.get(names.HOLDER_STATEFUL_SET, ""),
            ordinal=labels.get(names.HOLDER_ORDINAL, ""),
            since=since,
        )

    @property
    def pod(self) -> str:
        """The pod that it belonged to; "" for a claim that was no ordinal."""
        return f"{self.stateful_set}-{self.ordinal}" if self.stateful_set else ""


def read(annotation: str) -> tuple[Held, ...]:
    """What the annotation says; nothing where it was not written by Mooring."""
    try:
        return tuple(Held(**each) for each in json.loads(annotation or "[]"))
    except (ValueError, TypeError):
        return ()


def write(held: Sequence[Held]) -> str:
    """The annotation."""
    return json.dumps([asdict(each) for each in held[-MOST:]], separators=(",", ":"))


def lengthened(held: Sequence[Held], by: Held) -> tuple[Held, ...]:
    """The same with one more claim; a claim that is last already stays as it is."""
    if held and held[-1].claim_uid == by.claim_uid:
        return tuple(held)
    return (*held, by)
