"""
Label selectors and node selectors.

Sources: k8s.io/apimachinery, pkg/apis/meta/v1 (LabelSelectorAsSelector); k8s.io/component-helpers,
scheduling/corev1/nodeaffinity.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from provisioner.model.kinds import Object

_LABEL_OPERATORS: Final = frozenset({"In", "NotIn", "Exists", "DoesNotExist"})
_NODE_OPERATORS: Final = _LABEL_OPERATORS | {"Gt", "Lt"}
_KEY: Final = re.compile(
    r"(?:(?=[^/]{1,253}/)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?",
    re.ASCII,
)
"""A qualified name; see IsQualifiedName in apimachinery, pkg/util/validation."""
_VALUE: Final = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,99}", re.ASCII)
_INT64: Final = 1 << 63


class InvalidSelectorError(ValueError):
    """A selector that Kubernetes does not accept."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One expression for one label key."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    @classmethod
    def of(cls, expression: Object, *, operators: frozenset[str]) -> "Requirement":
        """Read one expression; raises InvalidSelectorError."""
        if not isinstance(expression, Mapping):
            raise InvalidSelectorError(f"the expression {expression!r} is not an object")
        key, operator = str(expression.get("key") or ""), str(expression.get("operator") or "")
        values = tuple(str(each) for each in _list(expression, "values"))
        needs_values = operator not in {"Exists", "DoesNotExist"}
        if not _KEY.fullmatch(key) or operator not in operators or needs_values != bool(values):
            raise InvalidSelectorError(f"the expression {key} {operator} {list(values)} cannot be evaluated")
        if operator in {"Gt", "Lt"} and (len(values) != 1 or _whole(values[0]) is None):
            raise InvalidSelectorError(f"the expression {key} {operator} needs one whole number")
        if wrong := next((each for each in values if not _VALUE.fullmatch(each)), None):
            raise InvalidSelectorError(
                f"the expression {key} {operator} has the value {wrong!r}, which is not a valid label value"
            )
        return cls(key, operator, values)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Report whether labels match; NotIn and DoesNotExist match an absent label."""
        value = labels.get(self.key)
        if self.operator == "In":
            return value in self.values
        if self.operator == "NotIn":
            return value is None or value not in self.values
        if self.operator == "Exists":
            return value is not None
        if self.operator == "DoesNotExist":
            return value is None
        number, bound = _whole(value or ""), _whole(self.values[0])
        if number is None or bound is None:
            return False
        return number > bound if self.operator == "Gt" else number < bound

    def __str__(self) -> str:
        values = f" ({', '.join(self.values)})" if self.values else ""
        return f"{self.key} {self.operator}{values}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """A label selector: all requirements must match; without any it matches everything."""

    requirements: tuple[Requirement, ...]

    @classmethod
    def of(cls, selector: Object) -> "LabelSelector":
        """Read `matchLabels` and `matchExpressions`; raises InvalidSelectorError."""
        labels = selector.get("matchLabels") or {}
        if not isinstance(labels, Mapping):
            raise InvalidSelectorError("matchLabels is not a map")
        equal = [Requirement(key, "In", (str(value),)) for key, value in labels.items()]
        others = [Requirement.of(each, operators=_LABEL_OPERATORS) for each in _list(selector, "matchExpressions")]
        return cls((*equal, *others))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Report whether an object with these labels is selected."""
        return all(each.matches(labels) for each in self.requirements)

    def __str__(self) -> str:
        return ", ".join(map(str, self.requirements)) or "everything"


@dataclass(frozen=True, slots=True)
class NodeTerm:
    """One term of a node selector: its expressions, and whether it also has matchFields."""

    expressions: tuple[Requirement, ...]
    has_fields: bool
    broken: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        """
        Report whether a node with these labels satisfies the term.

        A term with ``matchFields`` alone matches every node, because upstream evaluates a volume's affinity on the
        node's labels only. An empty term matches no node.
        """
        if self.broken:
            return False
        if not self.expressions:
            return self.has_fields
        return all(each.matches(labels) for each in self.expressions)


@dataclass(frozen=True, slots=True)
class NodeSelector:
    """The required node affinity of a volume: one of the terms must match; without terms no node matches."""

    terms: tuple[NodeTerm, ...]

    @classmethod
    def of(cls, required: Object) -> "NodeSelector":
        """
        Read `nodeSelectorTerms`; a term that cannot be evaluated matches no node, as in upstream.

        Raises InvalidSelectorError when there is no list of terms at all.
        """
        return cls(tuple(_term(each) for each in _list(required, "nodeSelectorTerms")))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Report whether a node with these labels can reach the volume."""
        return any(term.matches(labels) for term in self.terms)

    def keys(self) -> Sequence[str]:
        """Return the label keys of its expressions, in order."""
        return [each.key for term in self.terms for each in term.expressions]


def _list(obj: Object, key: str) -> Sequence[Any]:
    found = obj.get(key) or ()
    if not isinstance(found, list | tuple):
        raise InvalidSelectorError(f"{key} is not a list")
    return found


def _whole(text: str) -> int | None:
    """Return a 64-bit integer as upstream parses it; None for any other text."""
    number = int(text) if _INTEGER.fullmatch(text) else _INT64
    return number if -_INT64 <= number < _INT64 else None


def _term(term: Object) -> NodeTerm:
    if not isinstance(term, Mapping):
        return NodeTerm((), has_fields=False, broken=True)
    fields = bool(term.get("matchFields"))
    try:
        expressions = tuple(Requirement.of(each, operators=_NODE_OPERATORS) for each in _list(term, "matchExpressions"))
    except InvalidSelectorError:
        return NodeTerm((), fields, broken=True)
    return NodeTerm(expressions, fields)
