"""Tests of which volumes of a pod are mounted, and when it has to wait."""

from typing import Any

import pytest

from provisioner.embedded.kubelet.pod_volumes import DesiredVolume, Missing, desired_volumes
from provisioner.model.kinds import Json


def _pod(*volumes: Json, name: str = "web-0") -> Json:
    return {"metadata": {"name": name, "namespace": "default", "uid": "p"}, "spec": {"volumes": list(volumes)}}


def _by_claim(name: str = "www", **more: Any) -> Json:
    return {"name": name, "persistentVolumeClaim": {"claimName": "www-web-0", **more}}


def _claim(**status: Any) -> Json:
    return {
        "metadata": {"name": "www-web-0", "namespace": "default", "uid": "c1"},
        "spec": {"volumeName": "pv"},
        "status": {"phase": "Bound", **status},
    }


def _volume(*, claim_uid: str = "c1", driver: str = "csi.mooring.dev") -> Json:
    return {
        "metadata": {"name": "pv"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "claimRef": {"uid": claim_uid},
            "csi": {"driver": driver, "volumeHandle": "pool.pv", "volumeAttributes": {"a": "b"}},
        },
    }


def _desired(pod: Json, claim: Json | None, volume: Json | None) -> list[DesiredVolume] | Missing:
    return desired_volumes(pod, claim=lambda _: claim, volume=lambda _: volume)


def test_a_bound_claim_is_mounted() -> None:
    """A pod's volume is mounted when its claim and PersistentVolume refer to each other."""
    found = _desired(_pod(_by_claim()), _claim(), _volume())
    assert isinstance(found, list)
    assert [("www", "pv", "pool.pv", False)] == [(w.volume, w.volume_object, w.handle, w.read_only) for w in found]


def test_read_only_comes_from_the_pod() -> None:
    """A pod may request its claim read-only."""
    found = _desired(_pod(_by_claim(readOnly=True)), _claim(), _volume())
    assert isinstance(found, list)
    assert found[0].read_only


def test_volumes_without_a_claim_are_ignored() -> None:
    """For a pod with only an emptyDir nothing is mounted."""
    assert [] == _desired(_pod({"name": "tmp", "emptyDir": {}}), None, None)


@pytest.mark.parametrize(
    ("claim", "volume", "why"),
    [
        (None, None, "not found"),
        (_claim(phase="Pending"), _volume(), "is not bound"),
        (_claim(), None, "volume pv of claim www-web-0 does not exist"),
        (_claim(), _volume(claim_uid="c0"), "not bound to this claim"),
        (_claim(), _volume(driver="other.csi"), "only csi.mooring.dev is served"),
    ],
)
def test_a_pod_waits_for_a_claim_that_is_not_bound_to_its_volume(
    claim: Json | None, volume: Json | None, why: str
) -> None:
    """I2: a volume is mounted only when it is bound to the claim with this UID."""
    found = _desired(_pod(_by_claim()), claim, volume)
    assert isinstance(found, Missing)
    assert why in found.why


def test_one_missing_claim_blocks_all_volumes_of_the_pod() -> None:
    """All volumes of a pod are mounted, or none."""
    pod = _pod(_by_claim("a"), _by_claim("b"))
    claims = iter([_claim(), None])
    found = desired_volumes(pod, claim=lambda _: next(claims), volume=lambda _: _volume())
    assert isinstance(found, Missing)


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ""])
def test_a_name_never_leaves_its_directory(name: str) -> None:
    """Names are used as directory names, so only DNS names are accepted."""
    assert isinstance(_desired(_pod(_by_claim(name)), _claim(), _volume()), Missing)
    assert isinstance(_desired(_pod(name=name), _claim(), _volume()), Missing)


def test_the_claim_of_an_ephemeral_volume_is_mounted_only_when_the_pod_owns_it() -> None:
    """Another claim of that name has data that is not for this pod."""
    pod = _pod({"name": "www", "ephemeral": {"volumeClaimTemplate": {}}})
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "web-0", "uid": "p", "controller": True}
    foreign = _claim()
    former = _claim()
    former["metadata"]["ownerReferences"] = [{**owner, "uid": "p0"}]
    shared = _claim()
    shared["metadata"]["ownerReferences"] = [{**owner, "controller": False}]
    own = _claim()
    own["metadata"]["ownerReferences"] = [owner]

    assert isinstance(_desired(pod, own, _volume()), list)
    for claim in (foreign, former, shared):
        found = _desired(pod, claim, _volume())
        assert isinstance(found, Missing)
        assert "was not created for this pod" in found.why
    assert isinstance(_desired(pod, None, _volume()), Missing)
