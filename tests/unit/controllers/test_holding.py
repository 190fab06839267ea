"""Who holds a volume, as labels."""

from provisioner.controllers.holding import annotations_of, holder_labels
from tests.unit.controllers.objects import claim, stateful_set, volume


def _labels(*, sets: bool, before: dict[str, str]) -> dict[str, str]:
    return holder_labels(
        claim(),
        namespace_uid="n1",
        cluster_uid="k",
        sets=[stateful_set()] if sets else [],
        before=before,
        policy="Retain",
    )


def test_an_ordinal_is_named_by_its_set() -> None:
    """The set that makes the claim's name gives template and ordinal; no name is taken apart."""
    labels = _labels(sets=True, before={})
    assert {
        "mooring.dev/cluster-uid": "k",
        "mooring.dev/namespace": "default",
        "mooring.dev/namespace-uid": "n1",
        "mooring.dev/claim": "www-web-0",
        "mooring.dev/claim-uid": "c1",
        "mooring.dev/template": "www",
        "mooring.dev/stateful-set": "web",
        "mooring.dev/ordinal": "0",
        "mooring.dev/reclaim-policy": "Retain",
    } == labels


def test_a_claim_that_outlives_its_set_stays_its_ordinal() -> None:
    """What was written while the set existed is kept after it is gone."""
    before = volume()["metadata"]["annotations"]
    assert "web" == _labels(sets=False, before=before)["mooring.dev/stateful-set"]


def test_notes_of_another_claim_are_dropped() -> None:
    """An ordinal noted for another claim's name does not stick to this one."""
    before = volume()["metadata"]["annotations"] | {"mooring.dev/ordinal": "1"}
    labels = _labels(sets=False, before=before)
    assert "mooring.dev/ordinal" not in labels
    assert None is annotations_of(labels)["mooring.dev/ordinal"]
