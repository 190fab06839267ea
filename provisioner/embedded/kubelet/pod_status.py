"""Build the status of a pod whose volumes are mounted or unmounted, as pure functions of the pod and the time."""

from provisioner.model.kinds import Json, Object

MESSAGE = "the pod's volumes are mounted; this engine starts no containers"


def is_ready(pod: Object) -> bool:
    """Report whether the pod's status is Ready."""
    conditions = pod.get("status", {}).get("conditions") or []
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def mounted(pod: Object, *, now: str) -> Json:
    """Return the status Running and Ready, with one status per container so that `kubectl get` shows READY 1/1."""
    status = pod.get("status", {})
    return {
        "phase": "Running",
        "startTime": status.get("startTime") or now,
        "message": MESSAGE,
        "conditions": _conditions(pod, value="True", reason=None, now=now),
        "containerStatuses": [_container(each, ready=True, since=now) for each in _containers(pod)],
    }


def unmounted(pod: Object, *, reason: str, now: str) -> Json:
    """Return the status not Ready; the phase does not change, as for a pod on a lost node."""
    return {
        "conditions": _conditions(pod, value="False", reason=reason, now=now),
        "containerStatuses": [_container(each, ready=False, since=now) for each in _containers(pod)],
    }


def _containers(pod: Object) -> list[Json]:
    return list(pod.get("spec", {}).get("containers") or [])


def _container(container: Json, *, ready: bool, since: str) -> Json:
    state: Json = {"running": {"startedAt": since}} if ready else {"waiting": {"reason": "VolumesNotMounted"}}
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": ready,
        "started": ready,
        "restartCount": 0,
        "state": state,
    }


def _conditions(pod: Object, *, value: str, reason: str | None, now: str) -> list[Json]:
    """Return all conditions of the pod, with kubelet's replaced; an unchanged condition keeps its time."""
    conditions = {each["type"]: each for each in pod.get("status", {}).get("conditions") or []}
    kubelets = ("Ready", "ContainersReady", "PodReadyToStartContainers")
    always = ("Initialized",)
    for kind in (*kubelets, *always):
        expected = "True" if kind in always else value
        previous = conditions.get(kind, {})
        new: Json = {"type": kind, "status": expected, "lastProbeTime": None}
        new["lastTransitionTime"] = previous["lastTransitionTime"] if previous.get("status") == expected else now
        if reason and expected == "False":
            new["reason"] = reason
        conditions[kind] = new
    return list(conditions.values())
