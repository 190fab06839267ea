"""Tests of the status of pods with mounted and unmounted volumes."""

import pytest

from provisioner.embedded.kubelet.pod_status import is_ready, mounted, unmounted
from provisioner.model.kinds import Json

POD: Json = {
    "spec": {"containers": [{"name": "nginx", "image": "nginx"}]},
    "status": {"conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "t0"}]},
}


@pytest.mark.limit("no-containers")
def test_a_mounted_pod_is_running_and_ready() -> None:
    """Kubectl shows READY 1/1 and Running from these fields."""
    status = mounted(POD, now="t1")
    assert "Running" == status["phase"]
    assert [True] == [each["ready"] for each in status["containerStatuses"]]
    assert is_ready({"status": status})


def test_other_conditions_do_not_change() -> None:
    """The scheduler's condition does not change."""
    conditions = {each["type"]: each for each in mounted(POD, now="t1")["conditions"]}
    assert "t0" == conditions["PodScheduled"]["lastTransitionTime"]


def test_a_condition_that_does_not_change_keeps_its_time() -> None:
    """LastTransitionTime changes only with the status."""
    pod = {**POD, "status": mounted(POD, now="t1")}
    again = {each["type"]: each["lastTransitionTime"] for each in mounted(pod, now="t2")["conditions"]}
    changed = {each["type"]: each["lastTransitionTime"] for each in unmounted(pod, reason="R", now="t2")["conditions"]}
    assert ("t1", "t2") == (again["Ready"], changed["Ready"])


def test_an_unmounted_pod_is_not_ready() -> None:
    """A pod whose volumes are not mounted is never Ready."""
    pod = {**POD, "status": mounted(POD, now="t1")}
    assert not is_ready({"status": unmounted(pod, reason="EngineStopped", now="t2")})
