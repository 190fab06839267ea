"""Explanations of objects that are being deleted, and of pods whose volumes are not mounted."""

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
    own = volume(ref=("www-web-0", "new"), phase="Bound")
    return explain_claim(Facts(_deleted(finalizers), Index([own]), storage_class(), pods=pods))


def test_a_claim_that_is_being_deleted_names_the_pods_that_use_it() -> None:
    """It is never reported as Bound and healthy; a pod that has ended does not use it any more."""
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


def test_a_volume_that_is_being_deleted_names_the_claim_that_it_waits_for() -> None:
    """The message also has what happens to its bytes."""
    bound, deleted = claim(bound=True, volume="pv", phase="Bound"), _deleted()
    retained = explain_volume(_volume(), claim=bound)

    assert (retained.state, retained.healthy) == ("Terminating", False)
    assert "waits for claim default/www-web-0, which is bound to it, to be deleted" in retained.message
    assert "its bytes stay in its pool (policy Retain)" in retained.message
    assert (
        "claim default/www-web-0, which is being deleted, too, to be deleted"
        in explain_volume(_volume(), claim=deleted).message
    )
    assert "since no claim is bound to it" in explain_volume(_volume(), claim=None).message
    trash = explain_volume(_volume(reclaim_policy="Delete", finalizers=(PROVISIONER_FINALIZER,)), claim=None)
    assert trash.message == "it is being deleted, and waits for the driver to move its bytes to the trash"


PODS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    # the situation: (the pod, the other facts, a part of the message)
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
def test_a_pods_volumes_are_reported_as_being_mounted_only_when_they_are(what: str) -> None:
    """Each other situation has a different message."""
    change, known, message = PODS[what]
    one = dataclasses.replace(pod(node_name="n1"), **change)
    found = explain_pod(one, claims=[BOUND], **{"nodes": [node()], **known})

    assert message in found.message
    assert ("is mounting them" in found.message) == (what == "kubelet mounts")
    assert not found.healthy


def test_a_running_pod_is_explained_with_the_deletion_of_its_claim() -> None:
    """The claim is deleted when the pod has ended, and not before."""
    terminating = _used(pod())
    ready = explain_pod(pod(node_name="n1", ready=True), claims=[terminating])

    assert ready.message.startswith("its 1 volume(s) are mounted on node n1; claim default/www-web-0: it is being del")
    assert "it waits for claim default/www-web-0" in explain_pod(pod(node_name="n1"), claims=[terminating]).message


def test_the_last_event_is_reported_where_the_facts_alone_lead_to_a_new_volume() -> None:
    """The API server does not know about data of this claim's name on the drivers' disks."""
    immediate, waiting = storage_class(waits=False), storage_class()
    nodes: tuple[Node, ...] = (node(),)
    warning = "its former volume is not reported yet"

    created = explain_claim(Facts(claim(), Index(), immediate, nodes=nodes), last_event=warning)
    assert created.message == f"it has no volume yet: {warning}"
    unscheduled = explain_claim(Facts(claim(), Index(), waiting, nodes=nodes, pods=(pod(),)), last_event=warning)
    assert unscheduled.message == f"its class waits until pod web-0 is scheduled to a node; {warning}"
    bound = Facts(claim(bound=True, volume="pv", phase="Bound"), Index([volume(ref=("www-web-0", "new"))]), waiting)
    assert warning not in explain_claim(bound, last_event=warning).message
