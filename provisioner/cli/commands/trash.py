"""`mooring trash`: list, restore and purge deleted volumes."""

import asyncio
import datetime as dt
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import grpc

from provisioner.binding.on_disk import against_purging, holder_of
from provisioner.cli.durations import Duration
from provisioner.cli.exits import USAGE, CommandError
from provisioner.cli.options import state_option
from provisioner.cli.outcomes import (
    Outcome,
    data_option,
    dry_run_option,
    one_of,
    report,
    require_yes,
    table_option,
    write_data,
    yes_option,
)
from provisioner.cli.sizes import UNKNOWN, human
from provisioner.cli.table import lines
from provisioner.model import names
from provisioner.model.inventory import Manifest
from provisioner.model.kinds import Json

if TYPE_CHECKING:
    from provisioner.admin.on_disk import Disks
    from provisioner.drivers.registry import DriverRegistry

HEADER = ("CLAIM", "VOLUME", "SIZE", "USED", "DELETED", "RETAINED UNTIL")
WIDE = ("POOL", "NODE", "HANDLE", "CLUSTER")


@click.group("trash")
def command() -> None:
    """
    List, restore or purge deleted volumes.

    In a cluster, run it in the controller's pod:
    kubectl -n mooring-system exec deployment/mooring-controller -- mooring trash list
    """


@command.command("list")
@table_option
@state_option
def list_(*, output: str | None, state: Path | None) -> None:
    """
    List the deleted volumes in the trash of all pools.

    They are purged after RETAINED UNTIL, or earlier when a new volume needs the space.
    """
    from provisioner.cli.reach import observe_disks  # noqa: PLC0415 # the help needs no client of clusters

    disks = observe_disks(state)
    found = sorted((each for each in disks.manifests if each.in_trash), key=_order)
    if output in {"json", "yaml"}:
        write_data([_data(each, disks) for each in found], output)
    elif found:
        wide = output == "wide"
        rows = [(*HEADER, *WIDE) if wide else HEADER, *(_row(_data(each, disks), wide=wide) for each in found)]
        sys.stdout.write("\n".join(lines(rows)) + "\n")
    for node in disks.unavailable:
        sys.stderr.write(
            f"mooring: node {node} has a pool, and its driver does not answer: its trash is missing in this list\n"
        )
    if not found:
        sys.stderr.write("the trash is empty\n")


@command.command("restore")
@click.argument("names", metavar="VOLUME...", nargs=-1, required=True)
@dry_run_option
@data_option
@state_option
def restore(*, names: tuple[str, ...], dry_run: bool, output: str | None, state: Path | None) -> int:
    """
    Restore volumes from the trash.

    Each gets a PersistentVolume with reclaim policy Retain that is reserved for its last claim, so that the ordinal is
    bound to its data again. If one volume cannot be restored, none is.
    """
    return report(asyncio.run(_restore(names, dry_run=dry_run, state=state)), output)


@command.command("empty")
@click.argument("names", metavar="[VOLUME...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All volumes in the trash.")
@click.option("--older-than", type=Duration(), help="Volumes deleted at least this long ago, such as 36h or 7d.")
@click.option(
    "--from-cluster", "cluster", default="", metavar="UID", help="Also volumes of this cluster, which no longer exists."
)
@yes_option
@dry_run_option
@data_option
@state_option
def empty(
    *,
    names: tuple[str, ...],
    everything: bool,
    older_than: int | None,
    cluster: str,
    yes: bool,
    dry_run: bool,
    output: str | None,
    state: Path | None,
) -> int:
    """
    Purge deleted volumes: their data is erased.

    Purges the named volumes, all with --all, or those of a certain age with --older-than.
    """
    if bool(names) == (everything or (older_than is not None and not names)):
        raise CommandError("name volumes, or use --all or --older-than, but not both", code=USAGE)
    what = ", ".join(names) or "the selected volumes in the trash"
    require_yes(yes=yes, dry_run=dry_run, what=f"{what} would be purged")
    deleted_until = time.time() - older_than if older_than is not None else None
    return report(asyncio.run(_empty(names, deleted_until, cluster=cluster, dry_run=dry_run, state=state)), output)


async def _restore(requested: Sequence[str], *, dry_run: bool, state: Path | None) -> list[Outcome]:
    """Check all volumes, then restore them; none when one is refused. Raises CommandError."""
    from provisioner.admin.recover import inspect  # noqa: PLC0415 # as above
    from provisioner.binding.lifecycle.recover import recover  # noqa: PLC0415 # the help needs no decision
    from provisioner.cli.reach import reach  # noqa: PLC0415 # nor a client of clusters
    from provisioner.drivers.client import RpcError  # noqa: PLC0415 # as above
    from provisioner.kube.errors import ApiError  # noqa: PLC0415 # as above

    async with reach(state) as (transport, drivers):
        inspected = await inspect(transport, drivers)
        trash = [each for each in inspected.manifests if each.in_trash]
        found = [one_of(each, trash, where="no reachable trash") for each in dict.fromkeys(requested)]
        evaluated = {
            each.manifest.handle: each
            for each in recover(inspected.manifests, inspected.now, chosen={each.csi_name for each in found})
        }
        chosen = [evaluated[each.handle] for each in found]
        if refused := [Outcome.refused(each.manifest, each.reason) for each in chosen if each.reason is not None]:
            return refused
        outcomes = []
        for manifest in (each.manifest for each in chosen):
            try:
                if not dry_run:
                    await inspected.restore(transport, drivers, manifest)
            except (ApiError, RpcError) as error:
                outcomes.append(Outcome.failed(manifest, error.message))
                continue
            outcomes.append(_restored(manifest, dry_run=dry_run))
        return outcomes


def _restored(manifest: Manifest, *, dry_run: bool) -> Outcome:
    result, mark = ("would be restored", " (dry run)") if dry_run else ("restored", "")
    owner = holder_of(manifest)
    if names.RELEASED in manifest.holder:
        outcome = f"it was released, so claim {owner} adopts it only with `mooring adopt`"
    else:
        outcome = f"claim {owner} adopts it if it has no other volume"
    return Outcome(manifest.csi_name, manifest.handle, result, f"volume {manifest.csi_name} {result}; {outcome}{mark}")


async def _empty(
    requested: Sequence[str], deleted_until: float | None, *, cluster: str, dry_run: bool, state: Path | None
) -> list[Outcome]:
    """
    Purge the selected volumes.

    With names, none is purged when one is refused; with --all or --older-than, only the refused ones remain.
    `deleted_until` is a time in unix seconds. Raises CommandError.
    """
    from provisioner.admin.on_disk import observe  # noqa: PLC0415 # as above
    from provisioner.cli.reach import reach  # noqa: PLC0415 # the help needs no client of clusters

    async with reach(state) as (transport, drivers):
        disks = await observe(transport, drivers)
        trash = sorted((each for each in disks.manifests if each.in_trash), key=_order)
        handles = {one_of(each, trash, where="no reachable trash").handle for each in requested}
        selected = [each for each in trash if not requested or each.handle in handles]
        selected = [each for each in selected if deleted_until is None or each.deleted <= deleted_until]
        if not selected:
            sys.stderr.write("no volume in the trash matches; `mooring trash list` shows all\n")
        evaluated = [
            (each, against_purging(each, disks.manifests, disks.cluster, from_cluster=cluster)) for each in selected
        ]
        refused = [Outcome.refused(each, reason) for each, reason in evaluated if reason is not None]
        if requested and refused:
            return refused
        purgeable = [each for each, reason in evaluated if reason is None]
        return [*[await _purge(drivers, each, dry_run=dry_run) for each in purgeable], *refused]


async def _purge(drivers: "DriverRegistry", manifest: Manifest, *, dry_run: bool) -> Outcome:
    """Purge one volume as it was observed; not a volume of its handle that was deleted since then."""
    from provisioner.drivers.client import RpcError  # noqa: PLC0415 # the help needs no driver

    name, size = manifest.csi_name, human(manifest.capacity_bytes)
    if dry_run:
        message = f"volume {name} ({size}) would be purged (dry run)"
        return Outcome(name, manifest.handle, "would be removed", message)
    try:
        await drivers.purge(manifest.handle, deleted_before=manifest.deleted)
    except RpcError as error:
        if error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Outcome.failed(
                manifest, "it has so many files that it is still being purged; the driver goes on with it"
            )
        return Outcome.failed(manifest, error.message)
    return Outcome(name, manifest.handle, "removed", f"volume {name} ({size}) purged")


def _order(manifest: Manifest) -> tuple[bool, str, str, int]:
    claim = holder_of(manifest)
    return not claim, claim, manifest.csi_name, -manifest.deleted


def _data(manifest: Manifest, disks: "Disks") -> Json:
    """Return a deleted volume as data for -o json and yaml."""
    holder = manifest.holder
    pools = [pool for pool in disks.pools if pool.uuid == manifest.pool_uuid]
    return {
        "namespace": holder.get(names.HOLDER_NAMESPACE, ""),
        "claim": holder.get(names.HOLDER_CLAIM, ""),
        "volume": manifest.csi_name,
        "handle": manifest.handle,
        "capacityBytes": manifest.capacity_bytes,
        "usedBytes": manifest.stored_bytes,
        "deleted": _timestamp(manifest.deleted),
        "retainedUntil": _timestamp(manifest.purge_after),
        "pool": pools[0].name if pools else manifest.pool_uuid,
        "nodes": sorted({pool.node for pool in pools}),
        "cluster": holder.get(names.HOLDER_CLUSTER_UID, ""),
    }


def _row(found: Json, *, wide: bool) -> tuple[str, ...]:
    row = (
        f"{found['namespace']}/{found['claim']}" if found["claim"] else UNKNOWN,
        found["volume"],
        human(found["capacityBytes"]),
        human(found["usedBytes"]),
        found["deleted"],
        found["retainedUntil"],
    )
    extra = (found["pool"], ",".join(found["nodes"]) or UNKNOWN, found["handle"], found["cluster"] or UNKNOWN)
    return (*row, *extra) if wide else row


def _timestamp(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
