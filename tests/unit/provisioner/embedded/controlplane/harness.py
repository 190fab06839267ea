"""An API server with the workload controllers, and the actions of users and of a binder."""

from collections.abc import Awaitable, Callable

from provisioner.kube.errors import NotFound
from provisioner.kube.transport import KubeTransport
from provisioner.model.kinds import (
    CLAIM,
    POD,
    STATEFUL_SET,
    VOLUME,
    Json,
    Kind,
)
from tests.unit.provisioner.embedded.controlplane.sets import stateful_set
from tests.until import until_async


class Harness:
    """An API server with the workload controllers, without a binder and a kubelet."""

    def __init__(self, transport: KubeTransport) -> None:
        self.api = transport

    async def until(self, check: Callable[[], Awaitable[object]], what: str) -> None:
        """Poll the check until it is true; fail after 20 seconds."""
        await until_async(check, what, seconds=20)

    async def deleted(self, kind: Kind, name: str, namespace: str = "default") -> bool:
        """Report whether the object does not exist."""
        try:
            await self.api.get(kind, name, namespace if kind.namespaced else "")
        except NotFound:
            return True
        return False

    async def exists(self, pod: str) -> bool:
        """Report whether the pod exists."""
        return not await self.deleted(POD, pod)

    async def create_set(self, replicas: int = 2, **spec: object) -> Json:
        """Create the StatefulSet `web`, with the UID that the server assigns."""
        desired = stateful_set(replicas, podManagementPolicy="Parallel", **spec)
        del desired["metadata"]["uid"]
        desired["spec"]["template"]["spec"]["containers"][0]["image"] = "i"
        return await self.api.create(STATEFUL_SET, desired)

    async def bind(self, claim: str) -> None:
        """Bind the claim to a new volume, as a binder would."""
        volume = f"pv-{claim}"
        found = await self.api.get(CLAIM, claim, "default")
        spec: Json = {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "claimRef": {"namespace": "default", "name": claim, "uid": found["metadata"]["uid"]},
            "csi": {"driver": "d", "volumeHandle": volume},
        }
        await self.api.create(VOLUME, {"metadata": {"name": volume}, "spec": spec})
        bind = {"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}, "spec": {"volumeName": volume}}
        await self.api.patch(CLAIM, claim, bind, namespace="default")
        await self.api.patch(CLAIM, claim, {"status": {"phase": "Bound"}}, namespace="default", subresource="status")
        await self.api.patch(VOLUME, volume, {"status": {"phase": "Bound"}}, subresource="status")
