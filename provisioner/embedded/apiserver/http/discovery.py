"""
Discovery documents: one for each group, and aggregated discovery.

Source: Kubernetes API concepts, "API Discovery" (aggregated) and meta/v1 of the API reference (by group).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from provisioner.embedded.apiserver.http.reviews import REVIEWS
from provisioner.embedded.apiserver.store.lifecycle import WITH_STATUS
from provisioner.model import kinds
from provisioner.model.kinds import KINDS, Json, Kind

KUBERNETES: Final = "v1.37.0"
"""The Kubernetes version whose behaviour this server implements."""

AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""The media type of aggregated discovery."""

VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_SUB_VERBS: Final = ("get", "patch", "update")
_ALL: Final = frozenset({kinds.POD, kinds.SERVICE, kinds.STATEFUL_SET})
"""The kinds that `kubectl get all` lists."""


@dataclass(frozen=True, slots=True)
class Sub:
    """A subresource: its kind, which may be of another group, and its verbs."""

    name: str
    kind: str
    verbs: tuple[str, ...] = _SUB_VERBS
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A resource in discovery."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...] = VERBS
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subs: tuple[Sub, ...] = field(default=())


def _subs(kind: Kind) -> Iterator[Sub]:
    if kind in WITH_STATUS:
        yield Sub("status", kind.name)
    if kind is kinds.STATEFUL_SET:
        yield Sub("scale", "Scale", group="autoscaling", version="v1")
    if kind is kinds.POD:
        yield Sub("binding", "Binding", ("create",))
    if kind is kinds.NAMESPACE:
        yield Sub("finalize", kind.name, ("update",))


def _entry(kind: Kind) -> Entry:
    categories = ("all",) if kind in _ALL else ()
    return Entry(
        kind.group, kind.version, kind.plural, kind.name, kind.namespaced,
        short_names=kind.short_names, categories=categories, subs=tuple(_subs(kind)),
    )  # fmt: skip


ENTRIES: Final = (
    *(_entry(kind) for kind in KINDS),
    *(Entry(each.group, "v1", each.plural, each.kind, namespaced=False, verbs=("create",)) for each in REVIEWS),
)
GROUPS: Final = tuple(sorted({entry.group for entry in ENTRIES if entry.group}))


def version() -> Json:
    """Return the response of /version."""
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "gitVersion": f"{KUBERNETES}+embedded",
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "",
        "platform": "linux",
    }


def core_versions() -> Json:
    """Return the response of /api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups() -> Json:
    """Return the response of /apis."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group(name) for name in GROUPS]}


def group(name: str) -> Json:
    """Return the response of /apis/<group>."""
    versions = sorted({entry.version for entry in ENTRIES if entry.group == name})
    entries = [{"groupVersion": f"{name}/{each}", "version": each} for each in versions]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": entries, "preferredVersion": entries[0]}


def roots() -> dict[str, str]:
    """Return the name of each group and version by its path."""
    return {
        f"/apis/{entry.group}/{entry.version}" if entry.group else f"/api/{entry.version}": _group_version(entry)
        for entry in ENTRIES
    }


def _group_version(entry: Entry) -> str:
    return f"{entry.group}/{entry.version}" if entry.group else entry.version


def resources(group_version: str) -> Json:
    """Return the response of /api/v1 and of /apis/<group>/<version>."""
    found = [each for entry in ENTRIES if _group_version(entry) == group_version for each in _listed(entry)]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": found}


def _listed(entry: Entry) -> Iterator[Json]:
    base = {"name": entry.plural, "singularName": entry.kind.lower(), "namespaced": entry.namespaced}
    names = {"shortNames": list(entry.short_names), "categories": list(entry.categories)}
    yield {**base, "kind": entry.kind, "verbs": list(entry.verbs), **{key: each for key, each in names.items() if each}}
    for sub in entry.subs:
        other = {"group": sub.group, "version": sub.version} if sub.group else {}
        name = {"name": f"{entry.plural}/{sub.name}", "singularName": "", "namespaced": entry.namespaced}
        yield {**name, **other, "kind": sub.kind, "verbs": list(sub.verbs)}


def aggregated(*, core: bool) -> Json:
    """Return aggregated discovery: the response of /api (the core group) or of /apis (all other groups)."""
    items = [_group(name) for name in ([""] if core else GROUPS)]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _group(name: str) -> Json:
    entries = [entry for entry in ENTRIES if entry.group == name]
    versions = [
        {
            "version": each,
            "resources": [_described(entry) for entry in entries if entry.version == each],
            "freshness": "Current",
        }
        for each in sorted({entry.version for entry in entries})
    ]
    return {"metadata": {"name": name, "creationTimestamp": None} if name else {}, "versions": versions}


def _described(entry: Entry) -> Json:
    """Return a resource for aggregated discovery; group and version of its own kind stay empty."""
    found: Json = {
        "resource": entry.plural,
        "responseKind": {"group": "", "version": "", "kind": entry.kind},
        "scope": "Namespaced" if entry.namespaced else "Cluster",
        "singularResource": entry.kind.lower(),
        "verbs": list(entry.verbs),
    }
    if entry.short_names:
        found["shortNames"] = list(entry.short_names)
    if entry.categories:
        found["categories"] = list(entry.categories)
    if entry.subs:
        found["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                "verbs": list(sub.verbs),
            }
            for sub in entry.subs
        ]
    return found
