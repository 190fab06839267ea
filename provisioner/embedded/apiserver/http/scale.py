"""Two subresources with an object of their own: `scale` of a StatefulSet and `binding` of a Pod."""

from typing import Final

from provisioner.embedded.apiserver.store import errors
from provisioner.model.kinds import Json, Kind

API_VERSION: Final = "autoscaling/v1"


class ScaleView:
    """A set, reduced to how many replicas it has and should have."""

    def show(self, obj: Json) -> Json:
        """The Scale object."""
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

    def apply(self, obj: Json, shown: Json) -> Json:
        """The set with the replicas of a Scale; raises Refused when there are none or it is no Scale."""
        said = (shown.get("apiVersion", API_VERSION), shown.get("kind", "Scale"))
        if said != (API_VERSION, "Scale"):
            raise errors.bad_request(
                f"the object provided is a {said[1]} of {said[0]}, a Scale of {API_VERSION} is needed"
            )
        spec, written = shown.get("spec"), shown.get("metadata")
        replicas = spec.get("replicas", 0) if isinstance(spec, dict) else 0
        if isinstance(replicas, bool) or not isinstance(replicas, int):
            raise errors.bad_request(f"spec.replicas: expected an integer, got {replicas!r}")
        metadata = dict(obj["metadata"])
        for field in ("name", "namespace", "uid", "resourceVersion"):
            if isinstance(written, dict) and written.get(field):
                metadata[field] = written[field]
        return {**obj, "metadata": metadata, "spec": {**obj["spec"], "replicas": replicas}}

    def configuration(self, shown: Json, kind: Kind) -> Json:
        """An applied Scale as a configuration of the set: its replicas alone."""
        spec = shown.get("spec")
        replicas = {"replicas": spec["replicas"]} if isinstance(spec, dict) and "replicas" in spec else {}
        metadata = shown.get("metadata") or {}
        return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "spec": replicas}


def bound(pod: Json, *, kind: Kind, binding: Json) -> Json:
    """The pod with its node; raises Refused (400 without a node, 409 when it has one or is being deleted)."""
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
