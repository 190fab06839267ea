"""
What this server serves, in the words that clients ask for it.

Nothing is written as the newer aggregated form; clients fall back to this one.
"""

from collections.abc import Iterable
from typing import Final

from provisioner.embedded.store.lifecycle import WITH_STATUS
from provisioner.model import kinds
from provisioner.model.kinds import KINDS, Json, Kind

KUBERNETES: Final = "v1.37.0"
"""The version of Kubernetes whose behaviour is followed."""

VERBS: Final = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_SUB_VERBS: Final = ["get", "patch", "update"]


def version() -> Json:
    """The answer of /version."""
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    return {"major": major, "minor": minor, "gitVersion": f"{KUBERNETES}+embedded", "platform": "linux", "compiler": ""}


def core_versions() -> Json:
    """The answer of /api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups() -> Json:
    """The answer of /apis."""
    names = sorted({kind.group for kind in KINDS if kind.group})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group(name) for name in names]}


def group(name: str) -> Json:
    """The answer of /apis/<group>."""
    versions = sorted({kind.version for kind in KINDS if kind.group == name})
    entries = [{"groupVersion": f"{name}/{each}", "version": each} for each in versions]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": entries, "preferredVersion": entries[0]}


def resources(api_version: str) -> Json:
    """The answer of /api/v1 and of /apis/<group>/<version>."""
    entries = [entry for kind in KINDS if kind.api_version == api_version for entry in _entries(kind)]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": entries}


def _entries(kind: Kind) -> Iterable[Json]:
    short = {"shortNames": list(kind.short_names)} if kind.short_names else {}
    base = {"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.name}
    yield {**base, "verbs": VERBS, **short, **({"categories": ["all"]} if kind in _ALL else {})}
    if kind in WITH_STATUS:
        yield _sub(kind, "status", kind.name, _SUB_VERBS)
    if kind is kinds.STATEFUL_SET:
        yield _sub(kind, "scale", "Scale", _SUB_VERBS) | {"group": "autoscaling", "version": "v1"}
    if kind is kinds.POD:
        yield _sub(kind, "binding", "Binding", ["create"])
    if kind is kinds.NAMESPACE:
        yield _sub(kind, "finalize", kind.name, ["update"])


_ALL: Final = frozenset({kinds.POD, kinds.SERVICE, kinds.STATEFUL_SET})


def _sub(kind: Kind, name: str, shown: str, verbs: list[str]) -> Json:
    entry = {"name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced}
    return {**entry, "kind": shown, "verbs": verbs}
