"""`mooring trash`: deleted volumes that are not purged yet."""

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
from provisioner.cli.exits import USAGE, CommandFailed
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

HEADER = ("CLAIM", "VOLUME", "SIZE", "USED", "DELETED", "KEPT UNTIL")
WIDE = ("POOL", "NODE", "HANDLE", "CLUSTER")


@click.group("trash")
def command() -> None:
    """
    Show deleted volumes, restore them, or remove them for good.

    In a cluster, run it in the controller's pod:
    kubectl -n mooring-system exec deployment/mooring-controller -- mooring trash list
    """


@command.command("list")
@table_option
@state_option
def list_(*, output: str | None, state: Path | None) -> None:
    """
    Show what is in the trash of all pools.

    KEPT UNTIL is when it may be purged; sooner when a new volume needs the space.
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
            f"mooring: node {node} has a pool, and its driver does not answer: its trash is missing here\n"
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
    Take volumes out of the trash, to where their claims find them.

    Each gets a PersistentVolume with policy Retain that is reserved for the claim that had it last: an ordinal that
    waits, or comes back, has its data. When one cannot be restored, none is.
    """
    return report(asyncio.run(_restore(names, dry_run=dry_run, state=state)), output)


@command.command("empty")
@click.argument("names", metavar="[VOLUME...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Whatever is in it.")
@click.option("--older-than", type=Duration(), help="Only what was deleted so long ago, such as 36h or 7d.")
@click.option(
    "--from-cluster", "cluster", default="", metavar="UID", help="Also volumes of this cluster, which is gone."
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
    Remove deleted volumes for good.

    All of them, those that are named, or those that were deleted long ago.
    """
    if bool(names) == (everything or (older_than is not None and not names)):
        raise CommandFailed("name volumes, or say --all or --older-than; not both, and not neither", code=USAGE)
    what = ", ".join(names) or "what is in the trash"
    require_yes(yes=yes, dry_run=dry_run, what=f"{what} would be removed for good")
    latest = time.time() - older_than if older_than is not None else None
    return report(asyncio.run(_empty(names, latest, cluster=cluster, dry_run=dry_run, state=state)), output)


async def _restore(wanted: Sequence[str], *, dry_run: bool, state: Path | None) -> list[Outcome]:
    """Decide about all of them before the first is restored. Raises CommandFailed."""
    from provisioner.admin.recover import inspect  # noqa: PLC0415 # as above
    from provisioner.binding.lifecycle.recover import recover  # noqa: PLC0415 # the help needs no decision
    from provisioner.cli.reach import reach  # noqa: PLC0415 # nor a client of clusters
    from provisioner.drivers.client import RpcError  # noqa: PLC0415 # as above
    from provisioner.kube.errors import ApiError  # noqa: PLC0415 # as above

    async with reach(state) as (transport, drivers):
        seen = await inspect(transport, drivers)
        trash = [each for each in seen.manifests if each.in_trash]
        found = [one_of(each, trash, where="no trash that can be reached") for each in dict.fromkeys(wanted)]
        judged = {
            each.manifest.handle: each
            for each in recover(seen.manifests, seen.now, chosen={each.csi_name for each in found})
        }
        chosen = [judged[each.handle] for each in found]
        if refused := [Outcome.refused(each.manifest, each.reason) for each in chosen if each.reason is not None]:
            return refused
        outcomes = []
        for manifest in (each.manifest for each in chosen):
            try:
                if not dry_run:
                    await seen.restore(transport, drivers, manifest)
            except (ApiError, RpcError) as error:
                outcomes.append(Outcome.failed(manifest, error.message))
                continue
            outcomes.append(_restored(manifest, dry_run=dry_run))
        return outcomes


def _restored(manifest: Manifest, *, dry_run: bool) -> Outcome:
    result, mark = ("would be restored", " (dry run)") if dry_run else ("restored", "")
    whose = holder_of(manifest)
    if names.RELEASED in manifest.holder:
        outcome = f"it was released, so that `mooring adopt` gives it to claim {whose}"
    else:
        outcome = f"claim {whose} gets it as soon as it has no other volume"
    return Outcome(manifest.csi_name, manifest.handle, result, f"volume {manifest.csi_name} {result}; {outcome}{mark}")


async def _empty(
    wanted: Sequence[str], latest: float | None, *, cluster: str, dry_run: bool, state: Path | None
) -> list[Outcome]:
    """
    Remove what is meant.

    Of volumes that are named none is removed when one may not be; of all of them, what may not be stays. Raises
    CommandFailed.
    """
    from provisioner.admin.on_disk import observe  # noqa: PLC0415 # as above
    from provisioner.cli.reach import reach  # noqa: PLC0415 # the help needs no client of clusters

    async with reach(state) as (transport, drivers):
        disks = await observe(transport, drivers)
        trash = sorted((each for each in disks.manifests if each.in_trash), key=_order)
        handles = {one_of(each, trash, where="no trash that can be reached").handle for each in wanted}
        meant = [each for each in trash if not wanted or each.handle in handles]
        meant = [each for each in meant if latest is None or each.deleted <= latest]
        if not meant:
            sys.stderr.write("nothing in the trash matches; `mooring trash list` shows what is there\n")
        judged = [(each, against_purging(each, disks.manifests, disks.cluster, from_cluster=cluster)) for each in meant]
        refused = [Outcome.refused(each, reason) for each, reason in judged if reason is not None]
        if wanted and refused:
            return refused
        may_go = [each for each, reason in judged if reason is None]
        return [*[await _purge(drivers, each, dry_run=dry_run) for each in may_go], *refused]


async def _purge(drivers: "DriverRegistry", manifest: Manifest, *, dry_run: bool) -> Outcome:
    """Only what was seen goes: not what comes into the trash meanwhile."""
    from provisioner.drivers.client import RpcError  # noqa: PLC0415 # the help needs no driver

    name, size = manifest.csi_name, human(manifest.capacity_bytes)
    if dry_run:
        message = f"volume {name} ({size}) would be removed for good (dry run)"
        return Outcome(name, manifest.handle, "would be removed", message)
    try:
        await drivers.purge(manifest.handle, deleted_before=manifest.deleted)
    except RpcError as error:
        if error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Outcome.failed(manifest, "it has so many files that it is still being removed; that goes on")
        return Outcome.failed(manifest, error.message)
    return Outcome(name, manifest.handle, "removed", f"volume {name} ({size}) removed for good")


def _order(manifest: Manifest) -> tuple[bool, str, str, int]:
    claim = holder_of(manifest)
    return not claim, claim, manifest.csi_name, -manifest.deleted


def _data(manifest: Manifest, disks: "Disks") -> Json:
    """For programs."""
    holder = manifest.holder
    pools = [pool for pool in disks.pools if pool.uuid == manifest.pool_uuid]
    return {
        "namespace": holder.get(names.HOLDER_NAMESPACE, ""),
        "claim": holder.get(names.HOLDER_CLAIM, ""),
        "volume": manifest.csi_name,
        "handle": manifest.handle,
        "capacityBytes": manifest.capacity_bytes,
        "usedBytes": manifest.stored_bytes,
        "deleted": _moment(manifest.deleted),
        "keptUntil": _moment(manifest.purge_after),
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
        found["keptUntil"],
    )
    more = (found["pool"], ",".join(found["nodes"]) or UNKNOWN, found["handle"], found["cluster"] or UNKNOWN)
    return (*row, *more) if wide else row


def _moment(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
