"""
What the disks know beside the objects of a server, for commands that speak to a server alone.

Only the controller's pod and the engine's own machine reach the drivers; elsewhere the answer is that nobody was asked.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provisioner.binding.explain import Explanation
from provisioner.cli.client import Refused
from provisioner.cli.options import Target
from provisioner.cli.sizes import human
from provisioner.model.inventory import Manifest
from provisioner.model.kinds import NAMESPACE, VOLUME, Json
from provisioner.model.names import DRIVER, HOLDER_CLAIM, HOLDER_NAMESPACE

if TYPE_CHECKING:
    from csi.v1 import inventory_pb2

NOT_FOUND = 404
DRIVER_UNAVAILABLE = "volumes without a PersistentVolume are not known now: the driver of this engine does not answer"
NOT_ASKED = (
    "volumes without a PersistentVolume are seen only from the controller's pod: "
    "kubectl -n mooring-system exec deployment/mooring-controller -- mooring volumes"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A volume that no PersistentVolume stands for, on a disk or in its trash."""

    manifest: "inventory_pb2.Manifest"
    in_trash: bool


def without_object(target: Target, volumes: Iterable[Json]) -> list[Stored] | None:
    """
    Return the volumes of the engine's pools that are not among `volumes`, the PersistentVolumes as objects.

    None when the drivers of this server cannot be asked from here, or do not answer.
    """
    there = {(each["spec"].get("csi") or {}).get("volumeHandle") for each in volumes if _is_ours(each)}
    found = _ask(target)
    return None if found is None else [each for each in found if each.manifest.volume_id not in there]


def not_asked(target: Target) -> str:
    """Return why the drivers were not asked."""
    return DRIVER_UNAVAILABLE if target.client.server.engine else NOT_ASKED


def _is_ours(volume: Json) -> bool:
    return (volume["spec"].get("csi") or {}).get("driver") == DRIVER


def _ask(target: Target) -> list[Stored] | None:
    from provisioner.drivers.client import DriverClient, RpcError  # noqa: PLC0415 # as above
    from provisioner.embedded.settings import StatePaths  # noqa: PLC0415 # most commands need no driver

    paths = StatePaths(target.client.server.kubeconfig.parent.absolute())
    if not target.client.server.engine or not paths.socket.exists():
        return None

    async def ask() -> list[Stored]:
        drivers = DriverClient(paths.endpoint)
        try:
            living = [Stored(each, in_trash=False) for each in await drivers.list_manifests()]
            return living + [Stored(each.manifest, in_trash=True) for each in await drivers.list_trash()]
        finally:
            await drivers.close()

    try:
        return asyncio.run(ask())
    except RpcError:
        return None


def where(stored: Stored, *, subject: str = "") -> str:
    """Return where the bytes are, and what to do about them; `subject` is what to call the volume."""
    name = stored.manifest.csi_name
    subject, pool = subject or f"volume {name}", stored.manifest.pool_name
    if stored.in_trash:
        return f"{subject} is in the trash; `mooring trash restore {name}` brings it back"
    return (
        f"{subject} is in pool {pool} without a PersistentVolume; `mooring recover --volume {name}` restores that, "
        f"`mooring volumes erase {name}` erases the bytes"
    )


def of_claim(stored: Iterable[Stored], namespace: str, claim: str) -> list[Stored]:
    """Return those whose last holder was a claim of this name."""
    wanted = {HOLDER_NAMESPACE: namespace, HOLDER_CLAIM: claim}
    return [each for each in stored if wanted.items() <= dict(each.manifest.holder.labels).items()]


def former_manifests(target: Target, namespace: str) -> dict[str, tuple[Manifest, ...]]:
    """Return by claim the manifests whose last holder was in a namespace of this name; {} where nobody can be asked."""
    from provisioner.observe.claim_facts import view  # noqa: PLC0415 # most commands need no driver

    found: defaultdict[str, list[Manifest]] = defaultdict(list)
    for each in _ask(target) or ():
        labels = each.manifest.holder.labels
        if labels.get(HOLDER_NAMESPACE) == namespace:
            found[labels.get(HOLDER_CLAIM, "")].append(view(each.manifest, in_trash=each.in_trash))
    return {claim: tuple(manifests) for claim, manifests in found.items()}


def cluster_uid(target: Target) -> str:
    """Return the identity of the engine's cluster; "" for another server, whose drivers are not asked either."""
    if not target.client.server.engine:
        return ""
    try:
        return str(target.client.get(NAMESPACE, name="kube-system")["metadata"]["uid"])
    except Refused:
        return ""


def explain_stored(target: Target, name: str, error: Refused) -> Explanation:
    """Explain a volume that has no PersistentVolume. Raises the server's `error` when no disk has it either."""
    stored = _left(target, error)
    found = [each for each in stored if name in {each.manifest.csi_name, each.manifest.volume_id}]
    if not found:
        raise error
    each = min(found, key=lambda one: one.in_trash)
    labels = each.manifest.holder.labels
    claim = labels.get(HOLDER_CLAIM, "")
    key = f"{labels.get(HOLDER_NAMESPACE, '')}/{claim}"
    whose = f"claim {key} had it last" if claim else "no claim is known to have had it"
    size = "" if each.in_trash else f"{human(each.manifest.capacity_bytes)} are reserved for it; "
    message = f"{where(each, subject='it')} ({size}{whose})"
    return Explanation(f"volume {name}", "Deleted" if each.in_trash else "Orphan", healthy=False, message=message)


def missing_claim(target: Target, name: str, error: Refused) -> Refused:
    """Return the server's error about a claim that does not exist, with the volumes that the disks have of it."""
    found = of_claim(_left(target, error), target.namespace, name)
    return Refused(error.status, "; ".join([str(error), *map(where, found)]), reason=error.reason)


def with_leftovers(found: Explanation, target: Target, claim: str) -> Explanation:
    """Add to the explanation of a claim that is not well the volumes of it that only the disks know."""
    if found.healthy:
        return found
    stored = without_object(target, target.client.get(VOLUME).get("items") or ())
    mine = of_claim(stored or (), target.namespace, claim)
    more = [where(each) for each in mine if each.manifest.csi_name not in found.message]
    return replace(found, message="; ".join([found.message, *more]))


def _left(target: Target, error: Refused) -> list[Stored]:
    """Return the volumes without an object. Raises `error` when it says something else than that nothing is there."""
    if error.status != NOT_FOUND:
        raise error
    stored = without_object(target, target.client.get(VOLUME).get("items") or ())
    if stored is None:
        raise Refused(error.status, f"{error} ({not_asked(target)})", reason=error.reason)
    return stored
