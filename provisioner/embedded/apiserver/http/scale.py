"""Two subresources of a kind of their own: `scale` of a StatefulSet and `binding` of a Pod."""

from typing import Final

from provisioner.embedded.apiserver.store import errors
from provisioner.model.kinds import Json, Kind

API_VERSION: Final = "autoscaling/v1"


class ScaleView:
    """A StatefulSet as a Scale: its actual and desired replicas."""

    def show(self, obj: Json) -> Json:
        """Return the Scale of a StatefulSet."""
        metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status", {})
        labels = spec.get("selector", {}).get("matchLabels", {})
        return {
            "kind": "Scale",
            "apiVersion": API_VERSION,
            "metadata": {
                key: metadata[key]
                for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
                if key in metadata
            },
            "spec": {"replicas": spec.get("replicas", 0)},
            "status": {
                "replicas": status.get("replicas", 0),
                "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
            },
        }

    def apply(self, obj: Json, written: Json) -> Json:
        """Return the StatefulSet with a Scale's replicas; raise StatusError (400) unless `written` is a valid Scale."""
        identity = (written.get("apiVersion", API_VERSION), written.get("kind", "Scale"))
        if identity != (API_VERSION, "Scale"):
            raise errors.bad_request(
                f"the object provided is a {identity[1]} of {identity[0]}, a Scale of {API_VERSION} is needed"
            )
        spec, sent = written.get("spec"), written.get("metadata")
        replicas = spec.get("replicas", 0) if isinstance(spec, dict) else 0
        if isinstance(replicas, bool) or not isinstance(replicas, int):
            raise errors.bad_request(f"spec.replicas: expected an integer, got {replicas!r}")
        metadata = dict(obj["metadata"])
        for field in ("name", "namespace", "uid", "resourceVersion"):
            if isinstance(sent, dict) and sent.get(field):
                metadata[field] = sent[field]
        return {**obj, "metadata": metadata, "spec": {**obj["spec"], "replicas": replicas}}

    def configuration(self, written: Json, kind: Kind) -> Json:
        """Convert an applied Scale to a configuration of the StatefulSet that has only replicas."""
        spec = written.get("spec")
        replicas = {"replicas": spec["replicas"]} if isinstance(spec, dict) and "replicas" in spec else {}
        metadata = written.get("metadata") or {}
        return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "spec": replicas}


def bound(pod: Json, *, kind: Kind, binding: Json) -> Json:
    """Return the pod with its node; raise StatusError: 400 without a node, 409 if bound or being deleted."""
    target = binding.get("target")
    node = target.get("name") if isinstance(target, dict) else None
    name = pod["metadata"]["name"]
    if not isinstance(node, str) or not node:
        raise errors.bad_request("target.name of the binding must name a node")
    if "deletionTimestamp" in pod["metadata"]:
        raise errors.conflict(kind, name, f"pod {name} is being deleted, cannot be assigned to a host")
    if current := pod["spec"].get("nodeName"):
        raise errors.conflict(kind, name, f'pod {name} is already assigned to node "{current}"')
    status = pod.get("status", {})
    others = [each for each in status.get("conditions", []) if each.get("type") != "PodScheduled"]
    conditions = [*others, {"type": "PodScheduled", "status": "True"}]
    return {**pod, "spec": {**pod["spec"], "nodeName": node}, "status": {**status, "conditions": conditions}}
