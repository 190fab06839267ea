"""Tests of the planned steps of a StatefulSet: the order of ordinals, their claims, and objects of other owners."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.embedded.controlplane.plan import AdoptPod, Blocked, CreatePod, DeletePod
from provisioner.model.kinds import Json
from tests.unit.provisioner.embedded.controlplane.sets import Scenario, stateful_set


def test_ordered_pods_are_created_one_by_one_each_after_the_previous_one_is_ready() -> None:
    """This is OrderedReady, the default policy."""
    scenario = Scenario(stateful_set(3))

    scenario.step()
    assert list(scenario.pods) == ["web-0"]
    assert scenario.step() == []
    scenario.ready_all()
    scenario.step()

    assert scenario.created == ["web-0", "web-1"]


def test_parallel_pods_are_created_at_once() -> None:
    """This is podManagementPolicy: Parallel."""
    scenario = Scenario(stateful_set(3, podManagementPolicy="Parallel"))
    scenario.step()

    assert scenario.created == ["web-0", "web-1", "web-2"]


def test_ordinals_start_at_the_start_of_the_specification() -> None:
    """spec.ordinals.start moves the range, and pods outside of it on either side are deleted."""
    scenario = Scenario(stateful_set(2))
    scenario.settle()
    scenario.set = stateful_set(2, ordinals={"start": 1})
    scenario.settle()

    assert sorted(scenario.pods) == ["web-1", "web-2"]
    assert sorted(scenario.claims) == ["www-web-0", "www-web-1", "www-web-2"]


def test_scaling_down_deletes_the_highest_ordinal_first_and_waits_for_each() -> None:
    """The claims stay, since Retain is the default."""
    scenario = Scenario(stateful_set(3))
    scenario.settle()
    scenario.set = stateful_set(1)

    steps = scenario.step()
    assert [each.pod["metadata"]["name"] for each in steps if isinstance(each, DeletePod)] == ["web-2"]
    assert scenario.step() == []
    scenario.settle()

    assert (list(scenario.pods), len(scenario.claims)) == (["web-0"], 3)


def test_a_claim_has_the_sets_labels_over_its_templates_and_the_templates_annotations() -> None:
    """Upstream overlays the selector's matchLabels; there is no owner by default."""
    scenario = Scenario(stateful_set(1))
    scenario.step()

    metadata = scenario.claims["www-web-0"]["metadata"]
    assert metadata["labels"] == {"app": "nginx", "tier": "web"}
    assert metadata["annotations"] == {"a": "b"}
    assert "ownerReferences" not in metadata


def test_a_pod_has_its_identity_and_a_volume_for_each_template() -> None:
    """These are labels of name, ordinal and revision, host name, subdomain, and the claim under the template's name."""
    extra = [{"name": "www", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    desired = stateful_set(1)
    desired["spec"]["template"]["spec"]["volumes"] = extra
    scenario = Scenario(desired)
    scenario.step()

    pod = scenario.pods["web-0"]
    assert pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "web-0"
    assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "0"
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("web-0", "nginx")
    claim = {"name": "www", "persistentVolumeClaim": {"claimName": "www-web-0"}}
    assert pod["spec"]["volumes"] == [extra[1], claim]


def test_no_pod_is_created_while_its_claim_is_being_deleted() -> None:
    """The pod would use a claim that is deleted while it runs."""
    scenario = Scenario(stateful_set(1))
    scenario.settle()
    scenario.claims["www-web-0"]["metadata"]["deletionTimestamp"] = "now"
    scenario.pods.clear()

    (step,) = scenario.plan()

    assert isinstance(step, Blocked)
    assert "www-web-0 is being deleted" in step.message


def test_a_missing_claim_of_a_pending_pod_is_created_again() -> None:
    """Upstream repairs a pending pod in the same way."""
    scenario = Scenario(stateful_set(1))
    scenario.settle()
    del scenario.claims["www-web-0"]
    scenario.settle()

    assert "www-web-0" in scenario.claims


def test_a_missing_claim_of_a_running_pod_is_not_created_again() -> None:
    """The pod has the former claim's volume mounted, and does not use a new claim of that name."""
    scenario = Scenario(stateful_set(1))
    scenario.settle()
    scenario.pods["web-0"]["status"] = {"phase": "Running"}
    del scenario.claims["www-web-0"]

    assert scenario.plan() == []


@pytest.mark.parametrize(("labels", "adopted"), [({"app": "nginx"}, True), ({"app": "x"}, False)])
def test_an_orphan_pod_is_adopted_only_if_the_set_selects_it(labels: dict[str, str], adopted: bool) -> None:
    """A pod of the same name that the selector does not match blocks the ordinal instead."""
    scenario = Scenario(stateful_set(1))
    scenario.pods["web-0"] = {
        "metadata": {"name": "web-0", "namespace": "default", "uid": "u", "labels": labels},
        "spec": {},
    }

    assert isinstance(scenario.plan()[0], AdoptPod if adopted else Blocked)


def test_a_pod_of_an_earlier_set_of_that_name_blocks_the_ordinal() -> None:
    """A set deleted and applied again does not adopt pods that the garbage collector is about to delete."""
    scenario = Scenario(stateful_set(1))
    scenario.settle()
    scenario.set["metadata"]["uid"] = "another"

    assert isinstance(scenario.plan()[0], Blocked)


POLICIES = {
    # (whenDeleted, whenScaled): owners of the claim of an ordinal in range, of one that is scaled down
    ("Retain", "Retain"): ([], []),
    ("Delete", "Retain"): (["StatefulSet"], ["StatefulSet"]),
    ("Retain", "Delete"): ([], ["Pod"]),
    ("Delete", "Delete"): (["StatefulSet"], ["Pod"]),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_claims_have_the_owners_of_the_retention_policy(policy: tuple[str, str]) -> None:
    """The garbage collector deletes a claim with its owner."""
    in_range, scaled_down = POLICIES[policy]
    spec = {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": policy[0], "whenScaled": policy[1]}}
    scenario = Scenario(stateful_set(2, **spec))
    scenario.settle()
    assert in_range == _owners(scenario.claims["www-web-1"])

    scenario.set = stateful_set(1, **spec)
    scenario.step()

    assert scaled_down == _owners(scenario.claims["www-web-1"])
    assert in_range == _owners(scenario.claims["www-web-0"])


def _owners(claim: Json) -> list[str]:
    return [each["kind"] for each in claim["metadata"].get("ownerReferences") or []]


def test_no_pod_gets_a_claim_that_is_deleted_with_its_former_pod() -> None:
    """After scaling down and up with whenScaled: Delete, the former claim is deleted before the pod is created."""
    scenario = Scenario(stateful_set(2, persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete"}))
    scenario.settle()
    scenario.set["spec"]["replicas"] = 1
    scenario.settle()
    scenario.set["spec"]["replicas"] = 2

    (step,) = scenario.plan()
    assert isinstance(step, Blocked)
    assert "www-web-1" in step.message
    del scenario.claims["www-web-1"]
    scenario.settle()

    assert sorted(scenario.pods) == ["web-0", "web-1"]
    assert _owners(scenario.claims["www-web-1"]) == []


def test_a_pod_that_is_desired_again_before_its_deletion_keeps_its_claim() -> None:
    """When the set is scaled up again while the pod still exists, the pod is removed from the claim's owners."""
    scenario = Scenario(stateful_set(2, persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete"}))
    scenario.settle()
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "web-1", "uid": scenario.pods["web-1"]["metadata"]["uid"]}
    scenario.claims["www-web-1"]["metadata"]["ownerReferences"] = [owner]
    scenario.settle()

    assert _owners(scenario.claims["www-web-1"]) == []


def test_a_change_to_retain_removes_the_owner_that_would_delete_the_claim() -> None:
    """WhenScaled is changed to Retain after scaling down, before the garbage collector runs: the claim stays."""
    scenario = Scenario(stateful_set(2, persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete"}))
    scenario.settle()
    scenario.set["spec"]["replicas"] = 1
    scenario.settle()
    scenario.set = stateful_set(2)
    scenario.settle()

    assert _owners(scenario.claims["www-web-1"]) == []
    assert sorted(scenario.pods) == ["web-0", "web-1"]


def test_claims_of_an_earlier_set_of_that_name_keep_their_owner() -> None:
    """The garbage collector deletes them with the earlier set; a new set does not prevent that."""
    scenario = Scenario(stateful_set(1, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"}))
    scenario.settle()
    scenario.pods.clear()
    scenario.set["metadata"]["uid"] = "another"
    scenario.settle()

    (owner,) = scenario.claims["www-web-0"]["metadata"]["ownerReferences"]
    assert owner["uid"] == "set-uid"


def test_other_owner_references_stay() -> None:
    """The set changes only references to itself and its pods."""
    scenario = Scenario(stateful_set(1))
    scenario.settle()
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"}
    scenario.claims["www-web-0"]["metadata"]["ownerReferences"] = [other]
    scenario.set = stateful_set(1, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"})
    scenario.settle()

    assert _owners(scenario.claims["www-web-0"]) == ["ConfigMap", "StatefulSet"]


def test_a_changed_template_replaces_pods_from_the_highest_ordinal_down() -> None:
    """Pods are replaced one at a time, each after the previous one is ready; those below the partition stay."""
    scenario = Scenario(stateful_set(3))
    scenario.settle()
    changed = stateful_set(3, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "new"
    scenario.set = changed
    scenario.created.clear()

    (first,) = scenario.step()
    assert isinstance(first, DeletePod)
    assert first.pod["metadata"]["name"] == "web-2"
    scenario.settle()

    assert scenario.created == ["web-2", "web-1"]


@pytest.mark.limit("template-revisions")
def test_a_pod_below_the_partition_is_recreated_with_the_new_template() -> None:
    """Upstream would use the old template from a ControllerRevision."""
    scenario = Scenario(stateful_set(2))
    scenario.settle()
    scenario.set = stateful_set(2, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
    scenario.set["spec"]["template"]["spec"]["containers"][0]["image"] = "new"
    del scenario.pods["web-0"]
    scenario.settle()

    assert scenario.pods["web-0"]["spec"]["containers"][0]["image"] == "new"


@pytest.mark.limit("one-at-a-time")
def test_a_rolling_update_replaces_one_pod_whatever_max_unavailable_is() -> None:
    """Upstream would replace two pods at once here."""
    scenario = Scenario(stateful_set(3))
    scenario.settle()
    scenario.set = stateful_set(3, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}})
    scenario.set["spec"]["template"]["spec"]["containers"][0]["image"] = "new"

    assert len([each for each in scenario.step() if isinstance(each, DeletePod)]) == 1


def test_on_delete_replaces_no_pod() -> None:
    """A pod is replaced only after a user deletes it."""
    scenario = Scenario(stateful_set(2))
    scenario.settle()
    scenario.set = stateful_set(2, updateStrategy={"type": "OnDelete"})
    scenario.set["spec"]["template"]["spec"]["containers"][0]["image"] = "new"

    assert scenario.plan() == []


def test_a_set_that_is_being_deleted_creates_nothing() -> None:
    """The garbage collector deletes its pods."""
    scenario = Scenario(stateful_set(2))
    scenario.set["metadata"]["deletionTimestamp"] = "now"

    assert scenario.plan() == []


SHAPES = st.fixed_dictionaries(
    {
        "replicas": st.integers(0, 4),
        "podManagementPolicy": st.sampled_from(["OrderedReady", "Parallel"]),
        "ordinals": st.fixed_dictionaries({"start": st.integers(0, 2)}),
    }
)


@given(st.lists(SHAPES, min_size=1, max_size=4), st.data())
def test_a_set_converges_to_exactly_its_desired_ordinals(shapes: list[dict[str, Any]], data: st.DataObject) -> None:
    """The set converges however it is scaled and whichever pods are lost; claims are never deleted under Retain."""
    scenario = Scenario(stateful_set(0))
    before: set[str] = set()
    for shape in shapes:
        scenario.set = stateful_set(**shape)
        for _ in range(data.draw(st.integers(0, 3))):
            steps = scenario.step()
            if shape["podManagementPolicy"] == "OrderedReady":
                assert len([each for each in steps if isinstance(each, CreatePod | DeletePod)]) <= 1
            lose_pod: bool = data.draw(st.booleans())
            if scenario.pods and lose_pod:
                del scenario.pods[data.draw(st.sampled_from(sorted(scenario.pods)))]
            finish_deletions: bool = data.draw(st.booleans())
            if finish_deletions:
                scenario.end_deleted()
                scenario.ready_all()
        scenario.settle()
        start = shape["ordinals"]["start"]
        assert sorted(scenario.pods) == sorted(f"web-{number}" for number in range(start, start + shape["replicas"]))
        assert before <= scenario.claims.keys()
        before |= scenario.claims.keys()
