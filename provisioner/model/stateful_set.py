"""A StatefulSet, as far as claims care."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from provisioner.model.fields import Fields
from provisioner.model.kinds import Object

_ORDINAL: Final = re.compile(r"0|[1-9][0-9]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ordinal:
    """Which claim of a set: its template, the set's name and the pod's number."""

    template: str
    stateful_set: str
    number: int

    def __str__(self) -> str:
        """As its pod is called."""
        return f"{self.stateful_set}-{self.number}"


@dataclass(frozen=True, slots=True)
class StatefulSet:
    """The set, its templates, and the ordinals it wants: `start` … `start` + `replicas` - 1."""

    namespace: str
    name: str
    uid: str
    replicas: int
    start: int
    templates: tuple[str, ...]
    deleting: bool

    @classmethod
    def of(cls, obj: Object) -> "StatefulSet":
        """Read an API object; raises InvalidObject."""
        fields = Fields("StatefulSet", obj)
        templates = fields.objects("spec.volumeClaimTemplates")
        return cls(
            namespace=fields.text("metadata.namespace", "default"),
            name=fields.text("metadata.name"),
            uid=fields.text("metadata.uid"),
            replicas=fields.number("spec.replicas", 1),
            start=fields.number("spec.ordinals.start"),
            templates=tuple(Fields("template", each).text("metadata.name") for each in templates),
            deleting=fields.raw("metadata.deletionTimestamp") is not None,
        )

    def claims(self) -> Iterator[str]:
        """The names of the claims that it wants now; none when it is being deleted."""
        if not self.deleting:
            for number in range(self.start, self.start + self.replicas):
                yield from (f"{template}-{self.name}-{number}" for template in self.templates)

    def ordinal_of(self, claim_name: str) -> Ordinal | None:
        """
        Which template and ordinal a claim of this name belongs to, or None.

        Names are compared with what the set would make, never taken apart: template and set may both contain dashes.
        """
        for template in self.templates:
            stem = f"{template}-{self.name}-"
            tail = claim_name.removeprefix(stem)
            if tail != claim_name and _ORDINAL.fullmatch(tail):
                return Ordinal(template, self.name, int(tail))
        return None

    def beside(self, claim_name: str) -> tuple[str, ...]:
        """The names of all claims that the set makes for this one's pod, itself included; none for a stranger's."""
        found = self.ordinal_of(claim_name)
        return tuple(f"{each}-{self.name}-{found.number}" for each in self.templates) if found else ()
