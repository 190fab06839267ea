"""`mooring pools`: the pools of all nodes, and what uses their space."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provisioner.binding.on_disk import State, StoredVolume
from provisioner.cli.options import state_option
from provisioner.cli.outcomes import table_option, write_data
from provisioner.cli.sizes import UNKNOWN, human
from provisioner.cli.table import lines
from provisioner.model.kinds import Json

if TYPE_CHECKING:
    from csi.v1 import inventory_pb2
    from provisioner.admin.on_disk import Disks

HEADER = ("POOL", "NODE", "SIZE", "ALLOCATED", "USED", "RESERVED", "TRASH", "FREE", "STATE")
WIDE = ("VOLUMES", "ORPHANS", "UUID", "PATH")


@click.command("pools")
@table_option
@state_option
def command(*, output: str | None, state: Path | None) -> None:
    """
    Show the pools of all nodes, and what uses their space.

    SIZE is what a pool can allocate in all, ALLOCATED the sizes of its volumes, FREE the rest. USED is what the volumes
    occupy, and RESERVED what is allocated to them and not occupied yet. TRASH is purged when its space is needed. In a
    cluster, run it in the controller's pod:
    kubectl -n mooring-system exec deployment/mooring-controller -- mooring pools
    """
    from provisioner.cli.reach import observe_disks  # noqa: PLC0415 # the help needs no client of clusters

    disks = observe_disks(state)
    found = [_data(pool, node, disks.volumes) for node, pools in sorted(disks.reported.items()) for pool in pools]
    found.sort(key=lambda each: (each["node"], each["pool"], each["path"]))
    if output in {"json", "yaml"}:
        write_data(found, output)
    elif found:
        rows = [(*HEADER, *WIDE) if output == "wide" else HEADER]
        sys.stdout.write("\n".join(lines([*rows, *(_row(each, wide=output == "wide") for each in found)])) + "\n")
    _remarks(disks, found)


def _data(pool: "inventory_pb2.Pool", node: str, volumes: list[StoredVolume]) -> Json:
    """Return a pool as data for -o json and yaml; what is unknown is null."""
    in_pool = [each for each in volumes if pool.uuid and each.handle.startswith(f"{pool.uuid}.") and node in each.nodes]
    orphans = [each for each in in_pool if each.state in {State.ORPHAN, State.OTHER_CLUSTER}]
    known = bool(pool.uuid)
    return {
        "pool": pool.name,
        "node": node,
        "uuid": pool.uuid,
        "path": pool.path,
        "state": _state(pool),
        "issues": [*([pool.problem] if pool.problem else []), *pool.issues],
        "backends": list(pool.backends),
        "capacityBytes": pool.capacity_bytes if known else None,
        "allocatedBytes": pool.allocated_bytes if known else None,
        "usedBytes": pool.used_bytes if pool.HasField("used_bytes") else None,
        "reservedBytes": pool.reserved_bytes if pool.HasField("reserved_bytes") else None,
        "trashBytes": pool.trash_bytes if known else None,
        "freeBytes": pool.available_bytes if known else None,
        "volumes": len(in_pool),
        "orphans": len(orphans),
        "orphanBytes": sum(each.size_bytes or 0 for each in orphans),
    }


def _state(pool: "inventory_pb2.Pool") -> str:
    if pool.problem:
        return "unavailable"
    if pool.issues:
        return "degraded"
    return "healthy" if pool.HasField("used_bytes") else "measuring"


def _row(found: Json, *, wide: bool) -> tuple[str, ...]:
    sizes = ("capacityBytes", "allocatedBytes", "usedBytes", "reservedBytes", "trashBytes", "freeBytes")
    row = (found["pool"], found["node"], *(human(found[each]) for each in sizes), found["state"])
    extra = (str(found["volumes"]), str(found["orphans"]), found["uuid"] or UNKNOWN, found["path"] or UNKNOWN)
    return (*row, *extra) if wide else row


def _remarks(disks: "Disks", found: list[Json]) -> None:
    """Print to stderr the issues of pools, unreachable nodes, and space reserved for orphans."""
    for node in disks.unavailable:
        sys.stderr.write(
            f"mooring: node {node} has a pool, and its driver does not answer: the pool is missing in this list\n"
        )
    if not found:
        sys.stderr.write("there is no pool; create one with `mooring pool init PATH --name NAME`\n")
    for each in found:
        for issue in each["issues"]:
            sys.stderr.write(f"mooring: node {each['node']}: {issue}\n")
        if each["orphans"]:
            sys.stderr.write(
                f"pool {each['pool']} on node {each['node']}: {human(each['orphanBytes'])} are reserved for volumes "
                f"without a PersistentVolume ({each['orphans']}); `mooring volumes --orphans` lists them\n"
            )
