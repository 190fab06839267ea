"""Strategies for small scenarios of claims, volumes and nodes, with many special cases of matching."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

SIZES = [
    "0",
    "1",
    "500m",
    "1Gi",
    "1024Mi",
    "1073741824",
    "1073741823.5",
    "1G",
    "1e9",
    "1.5Gi",
    "2Gi",
    "7Ei",
    "8Ei",
    "9223372036854775807",
]
MORE_SIZES = [*SIZES, "9223372036854775808", "16E", "1e30", "1n"]
"""Sizes that include some beyond 64 bits."""

MODES = ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]
LABELS = st.dictionaries(st.sampled_from(["disk", "zone", "n"]), st.sampled_from(["", "a", "b", "3", "12"]), max_size=3)
CLASSES = st.sampled_from([None, "", "fast", "slow"])
VOLUME_MODES = st.sampled_from([None, "Filesystem", "Block"])
ATTRIBUTES = st.sampled_from([None, None, "", "gold"])
UID = "uid-claim"
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


def _sometimes(strategy: st.SearchStrategy[Any], often: int = 2) -> st.SearchStrategy[Any]:
    return st.one_of(*[st.none()] * often, strategy)


def requirements(*, node: bool) -> st.SearchStrategy[Json]:
    """Return expressions of a selector, including some that cannot be evaluated."""
    operators = ["In", "NotIn", "Exists", "DoesNotExist", *(["Gt", "Lt"] if node else [])]
    values = st.lists(st.sampled_from(["", "a", "b", "3", "12", "007", "+3", "x" * 64]), max_size=2)
    return st.fixed_dictionaries(
        {"key": st.sampled_from(["disk", "zone", "n", "a/b", "A/b", "", "-"]), "operator": st.sampled_from(operators)},
        optional={"values": values},
    )


def _term() -> st.SearchStrategy[Json]:
    fields = st.just([{"key": "metadata.name", "operator": "In", "values": ["other"]}])
    return st.fixed_dictionaries(
        {}, optional={"matchExpressions": st.lists(requirements(node=True), max_size=2), "matchFields": fields}
    )


AFFINITY: st.SearchStrategy[Json] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"required": st.fixed_dictionaries({"nodeSelectorTerms": st.lists(_term(), max_size=2)})}),
)
SELECTOR = st.fixed_dictionaries(
    {}, optional={"matchLabels": LABELS, "matchExpressions": st.lists(requirements(node=False), max_size=2)}
)
CLAIM_REF = st.sampled_from(
    [
        {"namespace": "default", "name": "claim", "uid": UID},
        {"namespace": "default", "name": "claim"},
        {"namespace": "default", "name": "claim", "uid": "uid-former"},
        {"namespace": "other", "name": "claim"},
        {"namespace": "default", "name": "other", "uid": UID},
    ]
)


def clean(found: Json) -> Json:
    """Return the object without the fields that are None, as the API server stores it."""
    return {key: value for key, value in found.items() if value is not None}


@st.composite
def volumes(draw: st.DrawFn, name: str, sizes: Sequence[str] = MORE_SIZES) -> Json:
    """Return a PersistentVolume."""
    annotations = {CLASS_ANNOTATION: draw(st.sampled_from(["fast", ""]))} if draw(st.integers(0, 7)) == 7 else None
    deleted = "2026-01-01T00:00:00Z" if draw(st.integers(0, 7)) == 7 else None
    return {
        "metadata": clean(
            {"name": name, "labels": draw(LABELS), "annotations": annotations, "deletionTimestamp": deleted}
        ),
        "spec": clean(
            {
                "capacity": {"storage": draw(st.sampled_from(sizes))},
                "accessModes": draw(st.lists(st.sampled_from([*MODES, "ReadWriteNever"]), min_size=1, max_size=3)),
                "storageClassName": draw(CLASSES),
                "volumeMode": draw(VOLUME_MODES),
                "volumeAttributesClassName": draw(ATTRIBUTES),
                "claimRef": draw(_sometimes(CLAIM_REF)),
                "nodeAffinity": draw(_sometimes(AFFINITY)),
            }
        ),
        "status": {
            "phase": draw(st.sampled_from(["Available", "Available", "Available", "Bound", "Released", "Pending"]))
        },
    }


@st.composite
def claims(draw: st.DrawFn, name: str = "claim") -> Json:
    """Return a claim."""
    annotations = {CLASS_ANNOTATION: draw(st.sampled_from(["fast", ""]))} if draw(st.integers(0, 7)) == 7 else None
    return {
        "metadata": clean({"name": name, "namespace": "default", "uid": UID, "annotations": annotations}),
        "spec": clean(
            {
                "resources": {"requests": {"storage": draw(st.sampled_from(SIZES))}},
                "accessModes": draw(st.lists(st.sampled_from(MODES), min_size=1, max_size=2)),
                "storageClassName": draw(CLASSES),
                "volumeMode": draw(VOLUME_MODES),
                "volumeAttributesClassName": draw(ATTRIBUTES),
                "selector": draw(_sometimes(SELECTOR)),
            }
        ),
    }


@st.composite
def scenarios(draw: st.DrawFn) -> tuple[Json, list[Json], Json]:
    """Return a claim, some volumes in the order of their names, and a node."""
    count = draw(st.integers(0, 6))
    node = {"metadata": {"name": "n", "labels": draw(LABELS)}}
    return draw(claims()), [draw(volumes(f"v{number}")) for number in range(count)], node
