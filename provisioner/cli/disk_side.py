"""
Volumes that only the drivers know, for commands that otherwise use the API server alone.

The drivers can be reached only from the controller's pod and from the machine of the engine.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provisioner.binding.explain import Explanation
from provisioner.cli.client import StatusError
from provisioner.cli.options import Target
from provisioner.cli.sizes import human
from provisioner.model.inventory import Manifest
from provisioner.model.kinds import NAMESPACE, VOLUME, Json
from provisioner.model.names import DRIVER, HOLDER_CLAIM, HOLDER_NAMESPACE

if TYPE_CHECKING:
    from csi.v1 import inventory_pb2

NOT_FOUND = 404
DRIVER_UNAVAILABLE = "volumes without a PersistentVolume are unknown: the driver of this engine does not answer"
NOT_REACHABLE = (
    "volumes without a PersistentVolume are visible only from the controller's pod: "
    "kubectl -n mooring-system exec deployment/mooring-controller -- mooring volumes"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A volume without a PersistentVolume, on a disk or in its trash."""

    manifest: "inventory_pb2.Manifest"
    in_trash: bool


def without_object(target: Target, volumes: Iterable[Json]) -> list[Stored] | None:
    """
    Return the volumes of the engine's pools that are not among `volumes`, the PersistentVolumes.

    None when the drivers of this server cannot be reached from here, or do not answer.
    """
    handles = {(each["spec"].get("csi") or {}).get("volumeHandle") for each in volumes if _is_managed(each)}
    found = _list_stored(target)
    return None if found is None else [each for each in found if each.manifest.volume_id not in handles]


def unavailable_reason(target: Target) -> str:
    """Return why the drivers' volumes are unknown."""
    return DRIVER_UNAVAILABLE if target.client.server.engine else NOT_REACHABLE


def _is_managed(volume: Json) -> bool:
    return (volume["spec"].get("csi") or {}).get("driver") == DRIVER


def _list_stored(target: Target) -> list[Stored] | None:
    from provisioner.drivers.client import DriverClient, RpcError  # noqa: PLC0415 # most commands need no driver
    from provisioner.embedded.settings import StatePaths  # noqa: PLC0415 # as above

    paths = StatePaths(target.client.server.kubeconfig.parent.absolute())
    if not target.client.server.engine or not paths.socket.exists():
        return None

    async def list_all() -> list[Stored]:
        drivers = DriverClient(paths.endpoint)
        try:
            active = [Stored(each, in_trash=False) for each in await drivers.list_manifests()]
            return active + [Stored(each.manifest, in_trash=True) for each in await drivers.list_trash()]
        finally:
            await drivers.close()

    try:
        return asyncio.run(list_all())
    except RpcError:
        return None


def where(stored: Stored, *, subject: str = "") -> str:
    """Return where the data is, and how to restore or erase it; `subject` replaces "volume NAME" in the message."""
    name = stored.manifest.csi_name
    subject, pool = subject or f"volume {name}", stored.manifest.pool_name
    if stored.in_trash:
        return f"{subject} is in the trash; `mooring trash restore {name}` restores it"
    return (
        f"{subject} is in pool {pool} without a PersistentVolume; `mooring recover --volume {name}` restores it, "
        f"`mooring volumes erase {name}` erases it"
    )


def of_claim(stored: Iterable[Stored], namespace: str, claim: str) -> list[Stored]:
    """Return the volumes that were last bound to a claim of this name."""
    labels = {HOLDER_NAMESPACE: namespace, HOLDER_CLAIM: claim}
    return [each for each in stored if labels.items() <= dict(each.manifest.holder.labels).items()]


def former_manifests(target: Target, namespace: str) -> dict[str, tuple[Manifest, ...]]:
    """Return the manifests last owned in `namespace`, by claim name; {} when the drivers cannot be reached."""
    from provisioner.observe.claim_facts import view  # noqa: PLC0415 # most commands need no driver

    found: defaultdict[str, list[Manifest]] = defaultdict(list)
    for each in _list_stored(target) or ():
        labels = each.manifest.holder.labels
        if labels.get(HOLDER_NAMESPACE) == namespace:
            found[labels.get(HOLDER_CLAIM, "")].append(view(each.manifest, in_trash=each.in_trash))
    return {claim: tuple(manifests) for claim, manifests in found.items()}


def cluster_uid(target: Target) -> str:
    """Return the UID of the engine's namespace kube-system; "" for other servers, whose drivers are not reachable."""
    if not target.client.server.engine:
        return ""
    try:
        return str(target.client.get(NAMESPACE, name="kube-system")["metadata"]["uid"])
    except StatusError:
        return ""


def explain_stored(target: Target, name: str, error: StatusError) -> Explanation:
    """Explain a volume without a PersistentVolume. Raise `error`, the server's, when no disk has the volume either."""
    stored = _list_stored_or_raise(target, error)
    found = [each for each in stored if name in {each.manifest.csi_name, each.manifest.volume_id}]
    if not found:
        raise error
    each = min(found, key=lambda one: one.in_trash)
    labels = each.manifest.holder.labels
    claim = labels.get(HOLDER_CLAIM, "")
    key = f"{labels.get(HOLDER_NAMESPACE, '')}/{claim}"
    owner = f"it was last bound to claim {key}" if claim else "no claim is recorded for it"
    size = "" if each.in_trash else f"{human(each.manifest.capacity_bytes)} are reserved for it; "
    message = f"{where(each, subject='it')} ({size}{owner})"
    return Explanation(f"volume {name}", "Deleted" if each.in_trash else "Orphan", healthy=False, message=message)


def missing_claim(target: Target, name: str, error: StatusError) -> StatusError:
    """Return the server's error about a missing claim, with the claim's volumes on the disks added."""
    found = of_claim(_list_stored_or_raise(target, error), target.namespace, name)
    return StatusError(error.status, "; ".join([str(error), *map(where, found)]), reason=error.reason)


def with_stored_volumes(found: Explanation, target: Target, claim: str) -> Explanation:
    """Add the claim's volumes without a PersistentVolume to the explanation of an unhealthy claim."""
    if found.healthy:
        return found
    stored = without_object(target, target.client.get(VOLUME).get("items") or ())
    of_this_claim = of_claim(stored or (), target.namespace, claim)
    more = [where(each) for each in of_this_claim if each.manifest.csi_name not in found.message]
    return replace(found, message="; ".join([found.message, *more]))


def _list_stored_or_raise(target: Target, error: StatusError) -> list[Stored]:
    """Return the volumes without a PersistentVolume. Raise `error` unless its status is 404."""
    if error.status != NOT_FOUND:
        raise error
    stored = without_object(target, target.client.get(VOLUME).get("items") or ())
    if stored is None:
        raise StatusError(error.status, f"{error} ({unavailable_reason(target)})", reason=error.reason)
    return stored
