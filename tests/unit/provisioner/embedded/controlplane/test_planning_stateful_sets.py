"""A StatefulSet's steps: which ordinal when, which claim, and what is left alone."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.embedded.controlplane.plan import AdoptPod, Blocked, CreatePod, DeletePod
from provisioner.model.kinds import Json
from tests.unit.provisioner.embedded.controlplane.sets import Scenario, stateful_set


def test_pods_come_one_after_the_other_each_after_the_one_before_is_ready() -> None:
    """OrderedReady, the default."""
    scenario = Scenario(stateful_set(3))

    scenario.step()
    assert list(scenario.pods) == ["web-0"]
    assert scenario.step() == []
    scenario.ready_all()
    scenario.step()

    assert scenario.created == ["web-0", "web-1"]


def test_parallel_pods_come_at_once() -> None:
    """podManagementPolicy: Parallel."""
    scenario = Scenario(stateful_set(3, podManagementPolicy="Parallel"))
    scenario.step()

    assert scenario.created == ["web-0", "web-1", "web-2"]


def test_ordinals_start_where_the_set_says() -> None:
    """spec.ordinals.start moves the range, and pods outside of it on either side go."""
    scenario = Scenario(stateful_set(2))
    scenario.settle()
    scenario.set = stateful_set(2, ordinals={"start": 1})
    scenario.settle()

    assert sorted(scenario.pods) == ["web-1", "web-2"]
    assert sorted(scenario.claims) == ["www-web-0", "www-web-1", "www-web-2"]


def test_scaling_down_takes_the_highest_first_and_waits_for_each() -> None:
    """And keeps the claims, as Retain is the default."""
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
    """Name, ordinal and revision as labels; host name and subdomain; the claim under the template's name."""
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


def test_no_pod_is_made_while_its_claim_is_being_deleted() -> None:
    """It would be tied to a claim that goes away under it."""
    scenario = Scenario(stateful_set(1))
    scenario.settle()
    scenario.claims["www-web-0"]["metadata"]["deletionTimestamp"] = "now"
    scenario.pods.clear()

    (step,) = scenario.plan()

    assert isinstance(step, Blocked)
    assert "www-web-0 is being deleted" in step.message


def test_a_missing_claim_of_a_pod_that_is_there_is_made_again() -> None:
    """Upstream mends a pending pod that way."""
    scenario = Scenario(stateful_set(1))
    scenario.settle()
    del scenario.claims["www-web-0"]
    scenario.settle()

    assert "www-web-0" in scenario.claims


def test_a_running_pods_claim_is_not_made_again() -> None:
    """It holds the former one mounted; another under that name would only be mistaken for it."""
    scenario = Scenario(stateful_set(1))
    scenario.settle()
    scenario.pods["web-0"]["status"] = {"phase": "Running"}
    del scenario.claims["www-web-0"]

    assert scenario.plan() == []


@pytest.mark.parametrize(("labels", "adopted"), [({"app": "nginx"}, True), ({"app": "x"}, False)])
def test_an_orphan_pod_is_adopted_only_if_the_set_selects_it(labels: dict[str, str], adopted: bool) -> None:
    """Somebody else's pod of the same name blocks the ordinal instead."""
    scenario = Scenario(stateful_set(1))
    scenario.pods["web-0"] = {
        "metadata": {"name": "web-0", "namespace": "default", "uid": "u", "labels": labels},
        "spec": {},
    }

    assert isinstance(scenario.plan()[0], AdoptPod if adopted else Blocked)


def test_a_pod_of_an_earlier_set_of_that_name_has_to_go_first() -> None:
    """A set deleted and applied again must not take over pods that are about to be collected."""
    scenario = Scenario(stateful_set(1))
    scenario.settle()
    scenario.set["metadata"]["uid"] = "another"

    assert isinstance(scenario.plan()[0], Blocked)


POLICIES = {
    # (whenDeleted, whenScaled): owners of an ordinal in range, of a condemned one
    ("Retain", "Retain"): ([], []),
    ("Delete", "Retain"): (["StatefulSet"], ["StatefulSet"]),
    ("Retain", "Delete"): ([], ["Pod"]),
    ("Delete", "Delete"): (["StatefulSet"], ["Pod"]),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_claims_are_owned_as_the_retention_policy_says(policy: tuple[str, str]) -> None:
    """The garbage collector does the rest: what owns a claim takes it along."""
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


def test_no_pod_gets_a_claim_that_goes_with_the_pod_before_it() -> None:
    """Scaled down and up again under whenScaled: Delete: the former claim has to be collected first."""
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


def test_a_pod_that_is_wanted_again_before_it_went_keeps_its_claim() -> None:
    """Scaled up again in between: the claim's owner is taken off while the pod is still there."""
    scenario = Scenario(stateful_set(2, persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete"}))
    scenario.settle()
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "web-1", "uid": scenario.pods["web-1"]["metadata"]["uid"]}
    scenario.claims["www-web-1"]["metadata"]["ownerReferences"] = [owner]
    scenario.settle()

    assert _owners(scenario.claims["www-web-1"]) == []


def test_retain_takes_an_earlier_promise_to_delete_back() -> None:
    """A whenScaled changed to Retain after the scale-down, before the collector came: the claim is kept."""
    scenario = Scenario(stateful_set(2, persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete"}))
    scenario.settle()
    scenario.set["spec"]["replicas"] = 1
    scenario.settle()
    scenario.set = stateful_set(2)
    scenario.settle()

    assert _owners(scenario.claims["www-web-1"]) == []
    assert sorted(scenario.pods) == ["web-0", "web-1"]


def test_claims_of_an_earlier_set_of_that_name_are_left_to_the_collector() -> None:
    """That set was to take them along; a new one does not overrule it."""
    scenario = Scenario(stateful_set(1, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"}))
    scenario.settle()
    scenario.pods.clear()
    scenario.set["metadata"]["uid"] = "another"
    scenario.settle()

    (owner,) = scenario.claims["www-web-0"]["metadata"]["ownerReferences"]
    assert owner["uid"] == "set-uid"


def test_owners_of_others_stay() -> None:
    """The set touches only references that are its own."""
    scenario = Scenario(stateful_set(1))
    scenario.settle()
    stranger = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"}
    scenario.claims["www-web-0"]["metadata"]["ownerReferences"] = [stranger]
    scenario.set = stateful_set(1, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"})
    scenario.settle()

    assert _owners(scenario.claims["www-web-0"]) == ["ConfigMap", "StatefulSet"]


def test_a_changed_template_replaces_pods_from_the_highest_ordinal_down() -> None:
    """One at a time, each after the one before is ready; below the partition nothing is touched."""
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
def test_a_pod_below_the_partition_comes_back_with_the_new_template() -> None:
    """Upstream would take the old one from a ControllerRevision."""
    scenario = Scenario(stateful_set(2))
    scenario.settle()
    scenario.set = stateful_set(2, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
    scenario.set["spec"]["template"]["spec"]["containers"][0]["image"] = "new"
    del scenario.pods["web-0"]
    scenario.settle()

    assert scenario.pods["web-0"]["spec"]["containers"][0]["image"] == "new"


@pytest.mark.limit("one-at-a-time")
def test_a_rolling_update_takes_one_pod_whatever_may_be_unavailable() -> None:
    """Upstream would take two at once here."""
    scenario = Scenario(stateful_set(3))
    scenario.settle()
    scenario.set = stateful_set(3, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}})
    scenario.set["spec"]["template"]["spec"]["containers"][0]["image"] = "new"

    assert len([each for each in scenario.step() if isinstance(each, DeletePod)]) == 1


def test_on_delete_leaves_pods_alone() -> None:
    """They change when somebody deletes them."""
    scenario = Scenario(stateful_set(2))
    scenario.settle()
    scenario.set = stateful_set(2, updateStrategy={"type": "OnDelete"})
    scenario.set["spec"]["template"]["spec"]["containers"][0]["image"] = "new"

    assert scenario.plan() == []


def test_a_set_that_is_being_deleted_makes_nothing() -> None:
    """Its pods are the garbage collector's."""
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
def test_a_set_comes_to_rest_with_just_the_ordinals_it_wants(shapes: list[dict[str, Any]], data: st.DataObject) -> None:
    """However it is scaled and whichever pods die meanwhile; claims are never taken away under Retain."""
    scenario = Scenario(stateful_set(0))
    had: set[str] = set()
    for shape in shapes:
        scenario.set = stateful_set(**shape)
        for _ in range(data.draw(st.integers(0, 3))):
            steps = scenario.step()
            if shape["podManagementPolicy"] == "OrderedReady":
                assert len([each for each in steps if isinstance(each, CreatePod | DeletePod)]) <= 1
            dies: bool = data.draw(st.booleans())
            if scenario.pods and dies:
                del scenario.pods[data.draw(st.sampled_from(sorted(scenario.pods)))]
            goes: bool = data.draw(st.booleans())
            if goes:
                scenario.end_deleted()
                scenario.ready_all()
        scenario.settle()
        start = shape["ordinals"]["start"]
        assert sorted(scenario.pods) == sorted(f"web-{number}" for number in range(start, start + shape["replicas"]))
        assert had <= scenario.claims.keys()
        had |= scenario.claims.keys()
