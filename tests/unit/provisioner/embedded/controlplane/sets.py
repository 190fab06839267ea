"""A StatefulSet for tests, and a scenario that executes its plans in memory."""

import copy
from typing import Any

from provisioner.embedded.controlplane import identity
from provisioner.embedded.controlplane.plan import (
    AdoptPod,
    Blocked,
    CreateClaim,
    CreatePod,
    DeletePod,
    OwnClaim,
    Step,
    plan,
)
from provisioner.model.kinds import STATEFUL_SET, Json
from tests import builders


def stateful_set(replicas: int = 2, **spec: Any) -> Json:
    """Return the StatefulSet `web` with a claim template `www`, which has labels and annotations."""
    template = builders.claim("www", labels={"app": "other", "tier": "web"})
    template["metadata"]["annotations"] = {"a": "b"}
    found = builders.stateful_set(templates=[template], **{"replicas": replicas, **spec})
    return builders.in_namespace(found, uid="set-uid")


class Scenario:
    """The pods and claims of one namespace, whose plans the test executes step by step."""

    def __init__(self, desired: Json) -> None:
        self.set = desired
        self.pods: dict[str, Json] = {}
        self.claims: dict[str, Json] = {}
        self.available: set[str] = set()
        self.created: list[str] = []
        self.uids = 0

    def plan(self) -> list[Step]:
        """Return the next steps."""
        return plan(self.set, pods=list(self.pods.values()), claims=self.claims, available=frozenset(self.available))

    def step(self) -> list[Step]:
        """Execute the next steps, and return them."""
        steps = self.plan()
        for each in steps:
            if isinstance(each, CreateClaim):
                self.claims[each.claim["metadata"]["name"]] = self._stored(each.claim)
            elif isinstance(each, OwnClaim):
                self.claims[each.claim["metadata"]["name"]]["metadata"]["ownerReferences"] = each.owners
            elif isinstance(each, CreatePod):
                name = each.pod["metadata"]["name"]
                assert all(claim in self.claims for claim in _claims_of(each.pod)), (
                    "claims are created before their pod"
                )
                self.pods[name] = self._stored(each.pod)
                self.created.append(name)
            elif isinstance(each, AdoptPod):
                owner = identity.owner_reference(STATEFUL_SET, self.set)
                self.pods[each.pod["metadata"]["name"]]["metadata"]["ownerReferences"] = [owner]
            elif isinstance(each, DeletePod):
                self.pods[each.pod["metadata"]["name"]]["metadata"]["deletionTimestamp"] = "now"
        return steps

    def end_deleted(self) -> None:
        """Remove the pods that are being deleted."""
        for name in [name for name, pod in self.pods.items() if "deletionTimestamp" in pod["metadata"]]:
            del self.pods[name]
            self.available.discard(name)

    def ready_all(self) -> None:
        """Make every pod available that is not being deleted."""
        self.available = {name for name, pod in self.pods.items() if "deletionTimestamp" not in pod["metadata"]}

    def settle(self) -> None:
        """Execute steps until the plan is empty or blocked."""
        for _ in range(100):
            self.end_deleted()
            self.ready_all()
            if not [each for each in self.step() if not isinstance(each, Blocked)]:
                return
        raise AssertionError("the plan does not converge")

    def _stored(self, obj: Json) -> Json:
        self.uids += 1
        stored = copy.deepcopy(obj)
        stored["metadata"] |= {"uid": f"uid{self.uids}", "resourceVersion": str(self.uids)}
        return stored


def _claims_of(pod: Json) -> list[str]:
    return [
        each["persistentVolumeClaim"]["claimName"]
        for each in pod["spec"].get("volumes") or []
        if "persistentVolumeClaim" in each
    ]
