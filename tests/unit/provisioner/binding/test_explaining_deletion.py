"""What is being deleted says so first, and what it waits for; a pod whose volumes are not mounted says why."""

import dataclasses
from typing import Any

import pytest

from provisioner.binding.explain import Explanation, explain_claim, explain_volume
from provisioner.binding.explain_pod import explain_pod
from provisioner.binding.facts import Facts
from provisioner.binding.matching.index import Index
from provisioner.model.claim import Claim
from provisioner.model.names import CLAIM_PROTECTION, PROVISIONER_FINALIZER, VOLUME_PROTECTION
from provisioner.model.node import Node
from provisioner.model.pod import Pod
from provisioner.model.volume import Volume
from tests.unit.provisioner.binding.objects import claim, node, pod, storage_class, volume

BOUND = Explanation("claim default/www-web-0", "Bound", healthy=True, message="it is bound")


def _deleted(finalizers: tuple[str, ...] = (CLAIM_PROTECTION,)) -> Claim:
    bound = claim(bound=True, volume="pv", phase="Bound", deleting=True)
    return dataclasses.replace(bound, finalizers=finalizers)


def _used(*pods: Pod, finalizers: tuple[str, ...] = (CLAIM_PROTECTION,)) -> Explanation:
    mine = volume(ref=("www-web-0", "new"), phase="Bound")
    return explain_claim(Facts(_deleted(finalizers), Index([mine]), storage_class(), pods=pods))


def test_a_claim_that_is_being_deleted_names_the_pods_that_use_it() -> None:
    """Never "Bound" and well; a pod that has ended uses it no longer."""
    ended = dataclasses.replace(pod("web-1"), phase="Succeeded")
    found = _used(pod("web-0"), pod("b"), ended)

    assert (found.state, found.healthy, [each.code for each in found.reasons]) == ("Terminating", False, ["deleting"])
    assert found.message == "it is being deleted, and waits for pod b, web-0 to end; it has volume pv"
    assert "since no pod uses it" in _used(ended).message
    assert "the owner of finalizer example.com/x to remove it" in _used(finalizers=("example.com/x",)).message
    assert _used(finalizers=()).message.startswith("it is being deleted; ")


def _volume(**change: Any) -> Volume:
    before = volume(ref=("www-web-0", "new"), phase="Bound", deleting=True)
    return dataclasses.replace(before, **{"finalizers": (VOLUME_PROTECTION,), **change})


def test_a_volume_that_is_being_deleted_names_the_claim_that_keeps_it() -> None:
    """And what becomes of its bytes."""
    bound, going = claim(bound=True, volume="pv", phase="Bound"), _deleted()
    kept = explain_volume(_volume(), claim=bound)

    assert (kept.state, kept.healthy) == ("Terminating", False)
    assert "waits for claim default/www-web-0 to be deleted, which is bound to it" in kept.message
    assert "its bytes stay in its pool (policy Retain)" in kept.message
    assert "to go, which is being deleted, too" in explain_volume(_volume(), claim=going).message
    assert "since no claim is bound to it" in explain_volume(_volume(), claim=None).message
    trash = explain_volume(_volume(reclaim_policy="Delete", finalizers=(PROVISIONER_FINALIZER,)), claim=None)
    assert trash.message == "it is being deleted, and waits for the driver to move its bytes to the trash"


PODS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    # what is so: (of the pod, what else is known, what is said)
    "a mount failed": ({}, {"failure": "no such disk"}, "node n1 failed to mount them, and retries: no such disk"),
    "kubelet failed": ({}, {"failure": "x", "in_cluster": True}, "kubelet of node n1 failed to mount them"),
    "kubelet mounts": ({}, {"in_cluster": True}, "kubelet of node n1 is mounting them"),
    "being deleted": ({"deleting": True}, {}, "it is being deleted, and waits for node n1 to unmount its volumes"),
    "deletion failed": ({"deleting": True}, {"failure": "busy"}, "the last failure: busy"),
    "a finalizer": ({"deleting": True, "finalizers": ("a/b",)}, {}, "finalizer a/b"),
    "no such node": ({}, {"nodes": [node("n2")]}, "its node n1 does not exist"),
    "deleted, no such node": ({"deleting": True}, {"nodes": []}, "its node n1 does not exist"),
    "node not ready": ({}, {"nodes": [dataclasses.replace(node(), ready=False)]}, "is not ready"),
    "no claim of it": ({}, {"missing": ["www-web-0"]}, "claim www-web-0 does not exist"),
    "no claim at all": ({"claims": {}}, {}, "it mounts no claim"),
    "mounted, not ready": ({"started": True}, {}, "are mounted on node n1, and its containers are not ready"),
    "ended": ({"phase": "Failed"}, {}, "it has ended (Failed)"),
}


@pytest.mark.parametrize("what", PODS)
def test_a_pod_says_that_its_volumes_are_being_mounted_only_when_they_are(what: str) -> None:
    """Each other situation has a sentence of its own."""
    change, known, said = PODS[what]
    one = dataclasses.replace(pod(node_name="n1"), **change)
    found = explain_pod(one, claims=[BOUND], **{"nodes": [node()], **known})

    assert said in found.message
    assert ("is mounting them" in found.message) == (what == "kubelet mounts")
    assert not found.healthy


def test_a_running_pod_tells_that_its_claim_is_being_deleted() -> None:
    """The claim goes when the pod ends, and not before."""
    going = _used(pod())
    ready = explain_pod(pod(node_name="n1", ready=True), claims=[going])

    assert ready.message.startswith("its 1 volume(s) are mounted on node n1; claim default/www-web-0: it is being del")
    assert "it waits for claim default/www-web-0" in explain_pod(pod(node_name="n1"), claims=[going]).message


def test_what_mooring_reported_last_counts_where_the_facts_alone_would_have_a_volume_created() -> None:
    """The drivers' disks have data of this claim's name, of which the API server knows nothing."""
    immediate, waiting = storage_class(waits=False), storage_class()
    here: tuple[Node, ...] = (node(),)
    held = "its data is held back"

    created = explain_claim(Facts(claim(), Index(), immediate, nodes=here), last_event=held)
    assert created.message == f"it has no volume yet: {held}"
    unscheduled = explain_claim(Facts(claim(), Index(), waiting, nodes=here, pods=(pod(),)), last_event=held)
    assert unscheduled.message == f"its class waits until pod web-0 is scheduled to a node; {held}"
    bound = Facts(claim(bound=True, volume="pv", phase="Bound"), Index([volume(ref=("www-web-0", "new"))]), waiting)
    assert held not in explain_claim(bound, last_event=held).message
