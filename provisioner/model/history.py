"""The claims that owned a volume, first to last: the annotation ``mooring.dev/history`` of its PersistentVolume."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from provisioner import limits
from provisioner.model import names

MOST = limits.HISTORY_CLAIMS
"""The number of claims in the annotation, the latest ones; the driver's manifest has more."""


@dataclass(frozen=True, slots=True)
class Owner:
    """One claim that owned the volume. `since` is in UTC (RFC 3339); `stateful_set` is "" for a claim of no ordinal."""

    namespace: str
    claim: str
    claim_uid: str
    stateful_set: str
    ordinal: str
    since: str

    @classmethod
    def of(cls, labels: Mapping[str, str], *, since: str) -> "Owner":
        """Return the claim that the labels of an owner record describe."""
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
        """The name of its pod; "" for a claim of no ordinal."""
        return f"{self.stateful_set}-{self.ordinal}" if self.stateful_set else ""


def read(annotation: str) -> tuple[Owner, ...]:
    """Return the claims in the annotation; none where Mooring did not write it."""
    try:
        return tuple(Owner(**each) for each in json.loads(annotation or "[]"))
    except (ValueError, TypeError):
        return ()


def write(owners: Sequence[Owner]) -> str:
    """Return the annotation."""
    return json.dumps([asdict(each) for each in owners[-MOST:]], separators=(",", ":"))


def lengthened(owners: Sequence[Owner], by: Owner) -> tuple[Owner, ...]:
    """Return the claims with one more, unless that is the last one already."""
    if owners and owners[-1].claim_uid == by.claim_uid:
        return tuple(owners)
    return (*owners, by)
