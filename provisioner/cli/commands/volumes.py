"""`mooring volumes`: list all volumes on the disks, and erase those without a PersistentVolume."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provisioner.binding.on_disk import WITHOUT_OBJECT, State, StoredVolume
from provisioner.cli.exits import CommandError
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
from provisioner.model.inventory import Manifest
from provisioner.model.kinds import Json

if TYPE_CHECKING:
    from provisioner.admin.on_disk import Disks
    from provisioner.drivers.registry import DriverRegistry
    from provisioner.kube.transport import KubeTransport

HEADER = ("CLAIM", "VOLUME", "STATE", "SIZE", "USED", "POOL", "NODE")
WIDE = ("HANDLE", "CLUSTER")


@click.group("volumes", invoke_without_command=True)
@click.option("--orphans", is_flag=True, help="Show only volumes without a PersistentVolume.")
@table_option
@state_option
@click.pass_context
def command(context: click.Context, *, orphans: bool, output: str | None, state: Path | None) -> None:
    """
    Show all volumes on the disks, and erase orphans.

    STATE is the phase of the volume's PersistentVolume, or orphan when there is none. CLAIM is the claim that the
    volume is or was last bound to. USED is its size on disk at the last measurement. In a cluster, run it in the
    controller's pod: kubectl -n mooring-system exec deployment/mooring-controller -- mooring volumes
    """
    if context.invoked_subcommand is not None:
        return
    from provisioner.cli.reach import observe_disks  # noqa: PLC0415 # the help needs no client of clusters

    disks = observe_disks(state)
    listed = [each for each in disks.volumes if not orphans or each.state in WITHOUT_OBJECT]
    if output in {"json", "yaml"}:
        write_data([_data(each) for each in listed], output)
    elif listed:
        sys.stdout.write("\n".join(lines(_rows(listed, wide=output == "wide"))) + "\n")
    _remarks(disks, listed, orphans=orphans)


@command.command("erase")
@click.argument("names", metavar="VOLUME...", nargs=-1, required=True)
@click.option("--now", is_flag=True, help="Purge at once instead of moving to the trash.")
@click.option(
    "--from-cluster", "cluster", default="", metavar="UID", help="Also volumes of this cluster, which no longer exists."
)
@yes_option
@dry_run_option
@data_option
@state_option
@click.pass_context
def erase(
    context: click.Context,
    *,
    names: tuple[str, ...],
    now: bool,
    cluster: str,
    yes: bool,
    dry_run: bool,
    output: str | None,
    state: Path | None,
) -> int:
    """
    Erase the bytes of volumes without a PersistentVolume.

    They are moved to the trash, and their reserved bytes are free at once. If one of the volumes has a PersistentVolume
    or a waiting claim, or is mounted, the command is refused and nothing is erased.
    """
    require_yes(
        yes=yes, dry_run=dry_run, what=f"{', '.join(names)} would be {'purged' if now else 'moved to the trash'}"
    )
    if context.parent is not None:
        state = state or context.parent.params["state"]
    return report(asyncio.run(_erase(names, cluster=cluster, now=now, dry_run=dry_run, state=state)), output)


async def _erase(names: Sequence[str], *, cluster: str, now: bool, dry_run: bool, state: Path | None) -> list[Outcome]:
    """Check all volumes, then erase them; none when one is refused. Raises CommandError."""
    from provisioner.admin.on_disk import observe, reason_against  # noqa: PLC0415 # as above
    from provisioner.cli.reach import reach  # noqa: PLC0415 # the help needs no client of clusters

    async with reach(state) as (transport, drivers):
        disks = await observe(transport, drivers)
        found = [_selected(name, disks) for name in dict.fromkeys(names)]
        reasons = [await reason_against(disks, drivers, each, from_cluster=cluster) for each in found]
        if any(reasons):
            return [
                Outcome.refused(each, reason) for each, reason in zip(found, reasons, strict=True) if reason is not None
            ]
        if dry_run:
            how = "purged" if now else "moved to the trash"
            return [
                Outcome(each.csi_name, each.handle, "would be erased", f"{_what(each)} would be {how} (dry run)")
                for each in found
            ]
        return [await _erase_one(transport, drivers, each, now=now) for each in found]


async def _erase_one(
    transport: "KubeTransport", drivers: "DriverRegistry", manifest: Manifest, *, now: bool
) -> Outcome:
    from provisioner.admin.on_disk import RestoredMeanwhileError, erase, purge_newest  # noqa: PLC0415 # as above
    from provisioner.drivers.client import RpcError  # noqa: PLC0415 # as above
    from provisioner.kube.errors import ApiError  # noqa: PLC0415 # as above

    name, handle = manifest.csi_name, manifest.handle
    try:
        await erase(transport, drivers, manifest)
        if now:
            await purge_newest(drivers, handle)
            return Outcome(name, handle, "erased", f"{_what(manifest)} erased")
    except (ApiError, RpcError) as error:
        return Outcome.failed(manifest, error.message)
    except RestoredMeanwhileError as error:
        return Outcome.failed(manifest, str(error))
    next_step = f"`mooring trash restore {name}` restores it, `mooring trash empty {name}` purges it"
    return Outcome(name, handle, "in the trash", f"{_what(manifest)} moved to the trash; {next_step}")


def _selected(name: str, disks: "Disks") -> Manifest:
    """Return the volume with this name or handle that is not deleted. Raises CommandError."""
    if any(name in {each.csi_name, each.handle} for each in disks.manifests if each.in_trash) and not any(
        name in {each.csi_name, each.handle} for each in disks.manifests if not each.in_trash
    ):
        raise CommandError(f"volume {name} is in the trash already; `mooring trash empty {name}` purges it")
    active = [each for each in disks.manifests if not each.in_trash]
    return one_of(name, active, where="no reachable disk (`mooring volumes` shows all)")


def _what(manifest: Manifest) -> str:
    return f"volume {manifest.csi_name} ({human(manifest.capacity_bytes)})"


def _rows(listed: Sequence[StoredVolume], *, wide: bool) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [(*HEADER, *WIDE) if wide else HEADER]
    for each in listed:
        row = (
            each.claim or UNKNOWN,
            each.name,
            each.state.value,
            human(each.size_bytes),
            human(each.used_bytes),
            each.pool,
            ",".join(each.nodes) or UNKNOWN,
        )
        rows.append((*row, each.handle, each.cluster or UNKNOWN) if wide else row)
    return rows


def _data(volume: StoredVolume) -> Json:
    """Return a volume as data for -o json and yaml."""
    namespace, _, claim = volume.claim.rpartition("/")
    return {
        "namespace": namespace,
        "claim": claim,
        "volume": volume.name,
        "handle": volume.handle,
        "persistentVolume": volume.volume,
        "state": volume.state.value,
        "capacityBytes": volume.size_bytes,
        "usedBytes": volume.used_bytes,
        "pool": volume.pool,
        "nodes": list(volume.nodes),
        "cluster": volume.cluster,
    }


def _remarks(disks: "Disks", listed: Sequence[StoredVolume], *, orphans: bool) -> None:
    """Print to stderr which nodes are missing in the list, and how to restore or erase orphans."""
    for node in disks.unavailable:
        sys.stderr.write(
            f"mooring: node {node} has a pool, and its driver does not answer: its volumes are missing in this list\n"
        )
    if not listed:
        what = "volume without a PersistentVolume" if orphans else "volume"
        sys.stderr.write(f"there is no {what}{'' if orphans else '; create a claim of a StorageClass of Mooring'}\n")
    orphaned = [each for each in listed if each.state is State.ORPHAN]
    if orphaned:
        size = human(sum(each.size_bytes or 0 for each in orphaned))
        name = orphaned[0].name if len(orphaned) == 1 else "VOLUME"
        sys.stderr.write(
            f"\nwithout a PersistentVolume: {len(orphaned)}, {size} reserved; restore or erase with\n"
            f"  mooring recover --volume {name}\n"
            f"  mooring volumes erase {name}\n"
        )
