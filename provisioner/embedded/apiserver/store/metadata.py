"""
Rules for `metadata`, the same for every kind.

Sources: k8s.io/apimachinery, pkg/api/validation/objectmeta.go and pkg/util/validation.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from provisioner import limits
from provisioner.embedded.apiserver.store.problems import Problem, forbidden, invalid, required
from provisioner.model.kinds import NAMESPACE, SERVICE, Json, Kind

LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
SERVICE_NAME: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_QUALIFIED: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", re.ASCII)
ANNOTATION_BYTES: Final = limits.ANNOTATION_BYTES

_LABEL_RULE: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character"
)
_SUBDOMAIN_RULE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character"
)
_SERVICE_RULE: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character"
)
_STANDARD_FINALIZERS: Final = frozenset({"foregroundDeletion", "orphan", "kubernetes"})


def problems(kind: Kind, metadata: Json) -> Iterator[Problem]:
    """Yield every problem of an object's metadata."""
    name = metadata.get("name", "")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif wrong := name_problem(kind, name):
        yield invalid("metadata.name", name, wrong)
    yield from _label_problems(metadata.get("labels", {}))
    yield from _annotation_problems(metadata.get("annotations", {}))
    for index, each in enumerate(metadata.get("finalizers", [])):
        if each not in _STANDARD_FINALIZERS and ("/" not in each or _key_problem(each)):
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid(f"metadata.finalizers[{index}]", each, detail)
    yield from _owner_problems(metadata.get("ownerReferences", []))


def name_problem(kind: Kind, name: str) -> str:
    """Return what is wrong with a name of this kind; "" if it is valid."""
    if kind is SERVICE:
        pattern, limit, rule = SERVICE_NAME, 63, _SERVICE_RULE
    elif kind is NAMESPACE:
        pattern, limit, rule = LABEL, 63, _LABEL_RULE
    else:
        pattern, limit, rule = SUBDOMAIN, 253, _SUBDOMAIN_RULE
    if len(name) > limit:
        return f"must be no more than {limit} characters"
    return "" if pattern.fullmatch(name) else rule


def new_finalizers(old: Json, new: Json) -> Iterator[Problem]:
    """Yield a problem if finalizers are added to an object that is being deleted."""
    if "deletionTimestamp" not in old:
        return
    if added := sorted(set(new.get("finalizers", [])) - set(old.get("finalizers", []))):
        detail = f"no new finalizers can be added if the object is being deleted, found new finalizers {added}"
        yield forbidden("metadata.finalizers", detail)


def _key_problem(key: str) -> str:
    prefix, _, name = key.rpartition("/")
    if "/" in key and (len(prefix) > 253 or not SUBDOMAIN.fullmatch(prefix)):
        return f"prefix part {_SUBDOMAIN_RULE}"
    if not name or len(name) > 63 or not _QUALIFIED.fullmatch(name):
        return (
            "name part must consist of at most 63 alphanumeric characters, '-', '_' or '.', and must start and end "
            "with an alphanumeric character"
        )
    return ""


def _owner_problems(owners: list[dict[str, Any]]) -> Iterator[Problem]:
    for index, owner in enumerate(owners):
        path = f"metadata.ownerReferences[{index}]"
        for name in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(name):
                yield required(f"{path}.{name}")
    controllers = [owner for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        detail = "Only one reference can have Controller set to true"
        yield invalid("metadata.ownerReferences", [owner.get("name") for owner in controllers], detail)


def _label_problems(labels: dict[str, str]) -> Iterator[Problem]:
    for key, value in labels.items():
        if wrong := _key_problem(key):
            yield invalid("metadata.labels", key, wrong)
        if value and (len(value) > 63 or not _QUALIFIED.fullmatch(value)):
            yield invalid("metadata.labels", value, "must be at most 63 alphanumeric characters, '-', '_' or '.'")


def _annotation_problems(annotations: dict[str, str]) -> Iterator[Problem]:
    for key in annotations:
        if wrong := _key_problem(key.lower()):
            yield invalid("metadata.annotations", key, wrong)
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > ANNOTATION_BYTES:
        yield Problem(
            "metadata.annotations", "FieldValueTooLong", f"Too long: may not be more than {ANNOTATION_BYTES} bytes"
        )
