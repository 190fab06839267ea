"""API objects are read into frozen views; an invalid object raises one error that names the field."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObjectError, InvalidParameterError
from provisioner.model.kinds import KINDS, kind_named, kind_of
from provisioner.model.node import Node
from provisioner.model.pod import Pod, cached_fields, claims_of
from provisioner.model.stateful_set import Ordinal, StatefulSet
from provisioner.model.storage_class import KEYS, ClassParameters, StorageClass, default_class, seconds
from provisioner.model.volume import Volume


def test_a_claim_without_fields_has_the_defaults_of_the_api() -> None:
    """Absent fields have the same meaning as upstream."""
    claim = Claim.of({"metadata": {"name": "c", "namespace": "n"}, "spec": {}})

    assert ("", False, "Filesystem", "Pending") == (claim.class_name, claim.has_class, claim.volume_mode, claim.phase)
    assert claim.request.value == 0


@pytest.mark.parametrize(
    ("annotation", "field", "effective", "has"),
    [
        (None, None, "", False),
        (None, "", "", True),
        (None, "fast", "fast", True),
        ("slow", "fast", "slow", True),
        ("", "fast", "", True),
    ],
)
def test_the_beta_annotation_overrides_the_class_field(
    annotation: str | None, field: str | None, effective: str, has: bool
) -> None:
    """It does so even when its value is empty."""
    annotations = {} if annotation is None else {"volume.beta.kubernetes.io/storage-class": annotation}
    spec = {} if field is None else {"storageClassName": field}

    claim = Claim.of({"metadata": {"name": "c", "annotations": annotations}, "spec": spec})

    assert (effective, has) == (claim.class_name, claim.has_class)


@pytest.mark.parametrize(
    ("obj", "field"),
    [
        ({"metadata": {"name": 7}}, "metadata.name"),
        ({"metadata": {"name": "c"}, "spec": {"accessModes": "ReadWriteOnce"}}, "spec.accessModes"),
        ({"metadata": {"name": "c"}, "spec": {"resources": {"requests": {"storage": "lots"}}}}, "requests.storage"),
        ({"metadata": {"name": "c"}, "spec": "none"}, "spec"),
        ({"metadata": {"name": "c", "labels": {"a": 1}}}, "metadata.labels"),
        (
            {"metadata": {"name": "c"}, "spec": {"selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}},
            "selector",
        ),
    ],
)
def test_a_field_of_the_wrong_type_raises_an_error_with_its_path(obj: dict[str, object], field: str) -> None:
    """The error names the object and the field."""
    with pytest.raises(InvalidObjectError, match=field):
        Claim.of(obj)


KEYS_WITHIN = [
    "metadata", "name", "namespace", "labels", "key", "operator", "values", "matchLabels", "matchExpressions",
    "nodeSelectorTerms", "matchFields", "requests", "storage", "claimName", "uid", "start", "required",
]  # fmt: skip
VALUES = st.sampled_from([None, True, 7, 1.5, "", "x", "In", "Gt", "1Gi"])
JUNK = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS_WITHIN), inner, max_size=4),
    max_leaves=12,
)
PATHS = [
    "metadata", "metadata.name", "metadata.labels", "metadata.ownerReferences", "spec", "spec.selector", "spec.claimRef",
    "spec.capacity", "spec.resources", "spec.nodeAffinity", "spec.nodeAffinity.required", "spec.csi", "spec.volumes",
    "spec.volumeClaimTemplates", "spec.ordinals", "status", "status.conditions", "parameters",
]  # fmt: skip


@given(st.sampled_from([Claim, Volume, Pod, Node, StatefulSet, StorageClass]), st.sampled_from(PATHS), JUNK)
def test_any_object_is_read_or_raises_one_kind_of_error(view: Any, path: str, junk: object) -> None:
    """No object leads to another exception, which would end a controller."""
    obj: Any = junk
    for part in reversed(path.split(".")):
        obj = {part: obj}

    with contextlib.suppress(InvalidObjectError):
        view.of(obj)


def test_ordinals_are_determined_by_the_set_not_by_splitting_the_name() -> None:
    """Names of templates and sets may contain dashes and digits."""
    stateful_set = StatefulSet.of(
        {
            "metadata": {"name": "db-1", "namespace": "n"},
            "spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}, {"metadata": {"name": "data-db"}}]},
        }
    )

    assert Ordinal("data", "db-1", 0) == stateful_set.ordinal_of("data-db-1-0")
    assert Ordinal("data-db", "db-1", 12) == stateful_set.ordinal_of("data-db-db-1-12")
    for other in ("data-db-1", "data-db-1-01", "data-db-1-x", "data-db-10", "other-db-1-0", "data-db-1-0-0"):
        assert stateful_set.ordinal_of(other) is None


def test_class_parameters_are_strict_and_list_what_is_valid() -> None:
    """A misspelt parameter must not lead to the default without an error."""
    with pytest.raises(InvalidParameterError) as unknown:
        ClassParameters.parse({"backnd": "loop"})
    with pytest.raises(InvalidParameterError, match="directory, loop"):
        ClassParameters.parse({"backend": "zfs"})
    for key, value in (("provisioning", "thick"), ("mkfsOptions", "-m 0"), ("csi.storage.k8s.io/fstype", "xfs")):
        with pytest.raises(InvalidParameterError, match="loop only"):
            ClassParameters.parse({key: value})
        assert ClassParameters.parse({key: value, "backend": "loop"}).backend == "loop"

    assert all(key in str(unknown.value) for key in KEYS)
    assert (
        ClassParameters.parse({"backend": "loop", "csi.storage.k8s.io/node-stage-secret-name": "s"}).fs_type == "ext4"
    )


@pytest.mark.parametrize(("written", "expected"), [("24h", 86400), ("1h30m", 5400), ("0s", 0), ("90s", 90)])
def test_durations_are_read(written: str, expected: int) -> None:
    """A duration has hours, minutes and seconds, in this order."""
    assert expected == seconds(written)


@pytest.mark.parametrize("written", ["", "24", "1d", "-1h", "1.5h", "m", "1m1h", "\uff11h"])
def test_an_invalid_duration_is_refused(written: str) -> None:
    """A retention that is read incorrectly can lose data."""
    with pytest.raises(InvalidParameterError):
        seconds(written)


def test_of_several_default_classes_the_newest_is_used_then_the_first_by_name() -> None:
    """The rule is that of upstream's GetDefaultClass."""

    def a_class(name: str, created: str, *, default: str = "true") -> StorageClass:
        annotations = {"storageclass.kubernetes.io/is-default-class": default}
        metadata = {"name": name, "creationTimestamp": created, "annotations": annotations}
        return StorageClass.of({"metadata": metadata, "provisioner": "p"})

    classes = [
        a_class("b", "2026-01-02T00:00:00Z"),
        a_class("a", "2026-01-02T00:00:00Z"),
        a_class("c", "2026-01-01T00:00:00Z"),
    ]
    found = default_class([*classes, a_class("z", "2027-01-01T00:00:00Z", default="false")])

    assert found is not None
    assert found.name == "a"
    assert default_class([]) is None


def test_only_a_volume_of_moorings_driver_has_a_pool() -> None:
    """Handles of other drivers have no pool UUID."""
    spec = {"csi": {"driver": "csi.mooring.dev", "volumeHandle": "p-1.v-1"}}

    assert Volume.of({"metadata": {"name": "v"}, "spec": spec}).pool_uuid == "p-1"
    spec["csi"]["driver"] = "other"
    assert Volume.of({"metadata": {"name": "v"}, "spec": spec}).pool_uuid == ""


def test_a_pod_maps_its_volumes_to_claims_and_omits_other_volumes() -> None:
    """Volumes without a claim, such as emptyDir, are omitted."""
    volumes = [{"name": "www", "persistentVolumeClaim": {"claimName": "www-web-0"}}, {"name": "tmp", "emptyDir": {}}]

    assert Pod.of({"metadata": {"name": "p"}, "spec": {"volumes": volumes}}).claims == {"www": "www-web-0"}


def test_kinds_are_found_by_each_of_their_names() -> None:
    """They are the plural, singular and short names, in any case, and the kind in a manifest."""
    for kind in KINDS:
        for word in (kind.plural, kind.singular.upper(), *kind.short_names):
            assert kind_named(word) is kind
        assert kind_of(kind.api_version, kind.name) is kind
    assert kind_named("cronjobs") is None


def test_a_pod_mounts_named_claims_and_those_of_ephemeral_volumes() -> None:
    """The complete object and the fields that are cached have the same claims."""
    pod = {
        "metadata": {"name": "p", "namespace": "default", "uid": "u"},
        "spec": {
            "volumes": [
                {"name": "d", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}},
                {"name": "e", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
                {"name": "f", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "t", "emptyDir": {}},
            ]
        },
    }
    for each in (Pod.of(pod), Pod.of(cached_fields(pod))):
        assert each.claims == {"d": "data", "e": "p-e", "f": "data"}
        assert each.persistent_claims == {"data"}
    assert [each.read_only for each in claims_of(pod)] == [True, False, False]
