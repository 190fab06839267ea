"""
Label and field selectors of a request.

Sources: k8s.io/apimachinery, pkg/labels/selector.go (the grammar) and pkg/fields/selector.go; the fields of each
kind are those of its registry in k8s.io/kubernetes.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from provisioner.embedded.apiserver.store import errors
from provisioner.model import kinds
from provisioner.model.kinds import Kind, Object

_LABEL_TERM: Final = re.compile(
    r"\s*(?:(?P<absent>!)\s*(?P<none>[\w./-]+)"
    r"|(?P<key>[\w./-]+)\s*(?:"
    r"(?P<operator>==?|!=)\s*(?P<value>[\w.-]*)"
    r"|\s(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?)\s*(?=,|$)",
    re.ASCII,
)
_FIELD_TERM: Final = re.compile(r"\s*(?P<field>[\w.]+)\s*(?P<operator>==?|!=)(?P<value>(?:\\.|[^\\,=])*)")
_ESCAPE: Final = re.compile(r"\\(.)")

_EVENT_FIELDS: Final = (
    "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
    "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
    "reason", "reportingComponent", "source", "type",
)  # fmt: skip
_FIELDS: Final[dict[Kind, tuple[str, ...]]] = {
    kinds.NAMESPACE: ("status.phase",),
    kinds.NODE: ("spec.unschedulable",),
    kinds.POD: (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.nominatedNodeName",
    ),
    kinds.SERVICE: ("spec.clusterIP", "spec.type"),
    kinds.EVENT: _EVENT_FIELDS,
}  # fmt: skip

Test = Callable[[Object], bool]


@dataclass(frozen=True, slots=True)
class Selection:
    """A conjunction of tests; without tests it selects everything."""

    tests: tuple[Test, ...] = ()

    def matches(self, obj: Object) -> bool:
        """Report whether the object is selected."""
        return all(test(obj) for test in self.tests)


def selection(kind: Kind, *, labels: str = "", fields: str = "") -> Selection:
    """Parse both selectors of a request; raise StatusError (400) that names the invalid part."""
    return Selection((*_label_tests(labels), *_field_tests(kind, fields)))


def _label_tests(text: str) -> Iterator[Test]:
    position = 0
    while text.strip() and position <= len(text):
        found = _LABEL_TERM.match(text, position)
        if found is None:
            raise errors.bad_request(f"unable to parse the label selector {text!r}, at character {position + 1}")
        yield _label_test(found)
        position = found.end() + 1


def _label_test(found: re.Match[str]) -> Test:
    if found["absent"]:
        return _label(found["none"], lambda actual: actual is None)
    key = found["key"]
    if found["set"]:
        values = frozenset(each.strip() for each in found["values"].split(","))
        if found["set"] == "in":
            return _label(key, lambda actual: actual in values)
        return _label(key, lambda actual: actual not in values)
    if found["operator"] is None:
        return _label(key, lambda actual: actual is not None)
    value = found["value"]
    if found["operator"] == "!=":
        return _label(key, lambda actual: actual != value)
    return _label(key, lambda actual: actual == value)


def _label(key: str, holds: Callable[[str | None], bool]) -> Test:
    return lambda obj: holds((obj["metadata"].get("labels") or {}).get(key))


def _field_tests(kind: Kind, text: str) -> Iterator[Test]:
    position = 0
    while text.strip() and position < len(text):
        found = _FIELD_TERM.match(text, position)
        if found is None or (found.end() < len(text) and text[found.end()] != ","):
            raise errors.bad_request(f"unable to parse the field selector {text!r}, at character {position + 1}")
        field = found["field"]
        known = ("metadata.name", *(("metadata.namespace",) if kind.namespaced else ()), *_FIELDS.get(kind, ()))
        if field not in known:
            raise errors.bad_request(f"field label not supported: {field}; {kind.plural} support {', '.join(known)}")
        yield _field_test(field, _ESCAPE.sub(r"\1", found["value"]), equal=found["operator"] != "!=")
        position = found.end() + 1


def _field_test(field: str, value: str, *, equal: bool) -> Test:
    return lambda obj: (_field(obj, field) == value) is equal


def _field(obj: Object, field: str) -> str:
    """Return a field as text, empty if absent, as upstream compares it."""
    if field == "source":
        return _text((obj.get("source") or {}).get("component"))
    value: Any = obj
    for part in field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None and field in {"spec.unschedulable", "spec.hostNetwork"}:
        return "false"
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
