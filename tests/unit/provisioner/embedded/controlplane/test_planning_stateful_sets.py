"""A StatefulSet's steps: which ordinal when, which claim, and what is left alone."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.embedded.controlplane.plan import AdoptPod, Blocked, CreatePod, DeletePod
from provisioner.model.kinds import Json
from tests.unit.provisioner.embedded.controlplane.sets import World, stateful_set


def test_pods_come_one_after_the_other_each_after_the_one_before_is_ready() -> None:
    """OrderedReady, the default."""
    world = World(stateful_set(3))

    world.step()
    assert list(world.pods) == ["web-0"]
    assert world.step() == []
    world.ready_all()
    world.step()

    assert world.made == ["web-0", "web-1"]


def test_parallel_pods_come_at_once() -> None:
    """podManagementPolicy: Parallel."""
    world = World(stateful_set(3, podManagementPolicy="Parallel"))
    world.step()

    assert world.made == ["web-0", "web-1", "web-2"]


def test_ordinals_start_where_the_set_says() -> None:
    """spec.ordinals.start moves the range, and pods outside of it on either side go."""
    world = World(stateful_set(2))
    world.settle()
    world.set = stateful_set(2, ordinals={"start": 1})
    world.settle()

    assert sorted(world.pods) == ["web-1", "web-2"]
    assert sorted(world.claims) == ["www-web-0", "www-web-1", "www-web-2"]


def test_scaling_down_takes_the_highest_first_and_waits_for_each() -> None:
    """And keeps the claims, as Retain is the default."""
    world = World(stateful_set(3))
    world.settle()
    world.set = stateful_set(1)

    steps = world.step()
    assert [each.pod["metadata"]["name"] for each in steps if isinstance(each, DeletePod)] == ["web-2"]
    assert world.step() == []
    world.settle()

    assert (list(world.pods), len(world.claims)) == (["web-0"], 3)


def test_a_claim_has_the_sets_labels_over_its_templates_and_the_templates_annotations() -> None:
    """Upstream overlays the selector's matchLabels; there is no owner by default."""
    world = World(stateful_set(1))
    world.step()

    metadata = world.claims["www-web-0"]["metadata"]
    assert metadata["labels"] == {"app": "nginx", "tier": "web"}
    assert metadata["annotations"] == {"a": "b"}
    assert "ownerReferences" not in metadata


def test_a_pod_has_its_identity_and_a_volume_for_each_template() -> None:
    """Name, ordinal and revision as labels; host name and subdomain; the claim under the template's name."""
    extra = [{"name": "www", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    wanted = stateful_set(1)
    wanted["spec"]["template"]["spec"]["volumes"] = extra
    world = World(wanted)
    world.step()

    pod = world.pods["web-0"]
    assert pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "web-0"
    assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "0"
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("web-0", "nginx")
    claim = {"name": "www", "persistentVolumeClaim": {"claimName": "www-web-0"}}
    assert pod["spec"]["volumes"] == [extra[1], claim]


def test_no_pod_is_made_while_its_claim_is_being_deleted() -> None:
    """It would be tied to a claim that goes away under it."""
    world = World(stateful_set(1))
    world.settle()
    world.claims["www-web-0"]["metadata"]["deletionTimestamp"] = "now"
    world.pods.clear()

    (step,) = world.plan()

    assert isinstance(step, Blocked)
    assert "www-web-0 is being deleted" in step.message


def test_a_missing_claim_of_a_pod_that_is_there_is_made_again() -> None:
    """Upstream mends a pending pod that way."""
    world = World(stateful_set(1))
    world.settle()
    del world.claims["www-web-0"]
    world.settle()

    assert "www-web-0" in world.claims


def test_a_running_pods_claim_is_not_made_again() -> None:
    """It holds the former one mounted; another under that name would only be mistaken for it."""
    world = World(stateful_set(1))
    world.settle()
    world.pods["web-0"]["status"] = {"phase": "Running"}
    del world.claims["www-web-0"]

    assert world.plan() == []


@pytest.mark.parametrize(("labels", "adopted"), [({"app": "nginx"}, True), ({"app": "x"}, False)])
def test_an_orphan_pod_is_adopted_only_if_the_set_selects_it(labels: dict[str, str], adopted: bool) -> None:
    """Somebody else's pod of the same name blocks the ordinal instead."""
    world = World(stateful_set(1))
    world.pods["web-0"] = {
        "metadata": {"name": "web-0", "namespace": "default", "uid": "u", "labels": labels},
        "spec": {},
    }

    assert isinstance(world.plan()[0], AdoptPod if adopted else Blocked)


def test_a_pod_of_an_earlier_set_of_that_name_has_to_go_first() -> None:
    """A set deleted and applied again must not take over pods that are about to be collected."""
    world = World(stateful_set(1))
    world.settle()
    world.set["metadata"]["uid"] = "another"

    assert isinstance(world.plan()[0], Blocked)


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
    in_range, condemned = POLICIES[policy]
    spec = {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": policy[0], "whenScaled": policy[1]}}
    world = World(stateful_set(2, **spec))
    world.settle()
    assert in_range == _owners(world.claims["www-web-1"])

    world.set = stateful_set(1, **spec)
    world.step()

    assert condemned == _owners(world.claims["www-web-1"])
    assert in_range == _owners(world.claims["www-web-0"])


def _owners(claim: Json) -> list[str]:
    return [each["kind"] for each in claim["metadata"].get("ownerReferences") or []]


def test_no_pod_gets_a_claim_that_goes_with_the_pod_before_it() -> None:
    """Scaled down and up again under whenScaled: Delete: the former claim has to be collected first."""
    world = World(stateful_set(2, persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete"}))
    world.settle()
    world.set["spec"]["replicas"] = 1
    world.settle()
    world.set["spec"]["replicas"] = 2

    (step,) = world.plan()
    assert isinstance(step, Blocked)
    assert "www-web-1" in step.message
    del world.claims["www-web-1"]
    world.settle()

    assert sorted(world.pods) == ["web-0", "web-1"]
    assert _owners(world.claims["www-web-1"]) == []


def test_a_pod_that_is_wanted_again_before_it_went_keeps_its_claim() -> None:
    """Scaled up again in between: the claim's owner is taken off while the pod is still there."""
    world = World(stateful_set(2, persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete"}))
    world.settle()
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "web-1", "uid": world.pods["web-1"]["metadata"]["uid"]}
    world.claims["www-web-1"]["metadata"]["ownerReferences"] = [owner]
    world.settle()

    assert _owners(world.claims["www-web-1"]) == []


def test_retain_takes_an_earlier_promise_to_delete_back() -> None:
    """A whenScaled changed to Retain after the scale-down, before the collector came: the claim is kept."""
    world = World(stateful_set(2, persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete"}))
    world.settle()
    world.set["spec"]["replicas"] = 1
    world.settle()
    world.set = stateful_set(2)
    world.settle()

    assert _owners(world.claims["www-web-1"]) == []
    assert sorted(world.pods) == ["web-0", "web-1"]


def test_claims_of_an_earlier_set_of_that_name_are_left_to_the_collector() -> None:
    """That set was to take them along; a new one does not overrule it."""
    world = World(stateful_set(1, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"}))
    world.settle()
    world.pods.clear()
    world.set["metadata"]["uid"] = "another"
    world.settle()

    (owner,) = world.claims["www-web-0"]["metadata"]["ownerReferences"]
    assert owner["uid"] == "set-uid"


def test_owners_of_others_stay() -> None:
    """The set touches only references that are its own."""
    world = World(stateful_set(1))
    world.settle()
    stranger = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"}
    world.claims["www-web-0"]["metadata"]["ownerReferences"] = [stranger]
    world.set = stateful_set(1, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"})
    world.settle()

    assert _owners(world.claims["www-web-0"]) == ["ConfigMap", "StatefulSet"]


def test_a_changed_template_replaces_pods_from_the_highest_ordinal_down() -> None:
    """One at a time, each after the one before is ready; below the partition nothing is touched."""
    world = World(stateful_set(3))
    world.settle()
    changed = stateful_set(3, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "new"
    world.set = changed
    world.made.clear()

    (first,) = world.step()
    assert isinstance(first, DeletePod)
    assert first.pod["metadata"]["name"] == "web-2"
    world.settle()

    assert world.made == ["web-2", "web-1"]


@pytest.mark.limit("template-revisions")
def test_a_pod_below_the_partition_comes_back_with_the_new_template() -> None:
    """Upstream would take the old one from a ControllerRevision."""
    world = World(stateful_set(2))
    world.settle()
    world.set = stateful_set(2, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
    world.set["spec"]["template"]["spec"]["containers"][0]["image"] = "new"
    del world.pods["web-0"]
    world.settle()

    assert world.pods["web-0"]["spec"]["containers"][0]["image"] == "new"


@pytest.mark.limit("one-at-a-time")
def test_a_rolling_update_takes_one_pod_whatever_may_be_unavailable() -> None:
    """Upstream would take two at once here."""
    world = World(stateful_set(3))
    world.settle()
    world.set = stateful_set(3, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}})
    world.set["spec"]["template"]["spec"]["containers"][0]["image"] = "new"

    assert len([each for each in world.step() if isinstance(each, DeletePod)]) == 1


def test_on_delete_leaves_pods_alone() -> None:
    """They change when somebody deletes them."""
    world = World(stateful_set(2))
    world.settle()
    world.set = stateful_set(2, updateStrategy={"type": "OnDelete"})
    world.set["spec"]["template"]["spec"]["containers"][0]["image"] = "new"

    assert world.plan() == []


def test_a_set_that_is_being_deleted_makes_nothing() -> None:
    """Its pods are the garbage collector's."""
    world = World(stateful_set(2))
    world.set["metadata"]["deletionTimestamp"] = "now"

    assert world.plan() == []


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
    world = World(stateful_set(0))
    had: set[str] = set()
    for shape in shapes:
        world.set = stateful_set(**shape)
        for _ in range(data.draw(st.integers(0, 3))):
            steps = world.step()
            if shape["podManagementPolicy"] == "OrderedReady":
                assert len([each for each in steps if isinstance(each, CreatePod | DeletePod)]) <= 1
            dies: bool = data.draw(st.booleans())
            if world.pods and dies:
                del world.pods[data.draw(st.sampled_from(sorted(world.pods)))]
            goes: bool = data.draw(st.booleans())
            if goes:
                world.end_deleted()
                world.ready_all()
        world.settle()
        start = shape["ordinals"]["start"]
        assert sorted(world.pods) == sorted(f"web-{number}" for number in range(start, start + shape["replicas"]))
        assert had <= world.claims.keys()
        had |= world.claims.keys()
