"""A StatefulSet: the fields that claims need."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from provisioner.model.fields import Fields
from provisioner.model.kinds import Object

_ORDINAL: Final = re.compile(r"0|[1-9][0-9]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ordinal:
    """One claim of a set: its template, the set's name and the pod's ordinal."""

    template: str
    stateful_set: str
    number: int

    def __str__(self) -> str:
        """Return the name of its pod."""
        return f"{self.stateful_set}-{self.number}"


@dataclass(frozen=True, slots=True)
class StatefulSet:
    """A set, its claim templates, and its desired ordinals: `start` … `start` + `replicas` - 1."""

    namespace: str
    name: str
    uid: str
    replicas: int
    start: int
    templates: tuple[str, ...]
    deleting: bool

    @classmethod
    def of(cls, obj: Object) -> "StatefulSet":
        """Read an API object; raises InvalidObjectError."""
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
        """Return the names of the claims of all desired ordinals; none when the set is being deleted."""
        if not self.deleting:
            for number in range(self.start, self.start + self.replicas):
                yield from (f"{template}-{self.name}-{number}" for template in self.templates)

    def ordinal_of(self, claim_name: str) -> Ordinal | None:
        """
        Return the template and ordinal that a claim of this name belongs to, or None.

        The name is compared with the names that the set creates, and not split: template and set may contain dashes.
        """
        for template in self.templates:
            stem = f"{template}-{self.name}-"
            tail = claim_name.removeprefix(stem)
            if tail != claim_name and _ORDINAL.fullmatch(tail):
                return Ordinal(template, self.name, int(tail))
        return None

    def beside(self, claim_name: str) -> tuple[str, ...]:
        """Return the names of all claims that the set creates for this claim's pod; none for a claim of another set."""
        found = self.ordinal_of(claim_name)
        return tuple(f"{each}-{self.name}-{found.number}" for each in self.templates) if found else ()
