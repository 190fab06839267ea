"""`mooring recover`: recreate PersistentVolumes from the disks after the API server's data was lost."""

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import yaml

from provisioner.binding.lifecycle.recover import Recovery, recover
from provisioner.cli.exits import FAILED, CommandError
from provisioner.cli.options import state_option
from provisioner.cli.table import lines
from provisioner.model import names
from provisioner.model.kinds import Json

if TYPE_CHECKING:
    from provisioner.admin.recover import Inspected

HEADER = ("CLAIM", "VOLUME", "CLASS", "OWNED SINCE", "FROM CLUSTER", "RESULT")


@click.command("recover")
@click.option(
    "--from-cluster",
    "cluster",
    metavar="UID",
    help="Restore the volumes of the cluster with this UID; confirms that its disks are yours.",
)
@click.option("--volume", "chosen", multiple=True, help="Restore this volume even in doubtful cases. May be repeated.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="Print data in this format.")
@state_option
def command(
    *, cluster: str | None, chosen: tuple[str, ...], dry_run: bool, output: str | None, state: Path | None
) -> int:
    """
    Recreate PersistentVolumes after the API server's data was lost.

    The disks record each volume and the claim that it was bound to. Without --from-cluster and --volume nothing is
    changed; the volumes that can be restored are shown. After restoring, apply your StatefulSets: each ordinal is bound
    to its former volume. In a cluster, run it in the controller's pod:
    kubectl -n mooring-system exec deployment/mooring-controller -- mooring recover
    """
    restores = not dry_run and bool(cluster or chosen)
    inspected, found, failed = asyncio.run(_recover(cluster, chosen, restores=restores, state=state))
    if missing := sorted(set(chosen) - {each.manifest.csi_name for each in found}):
        raise CommandError(f"no reachable pool has volume {', '.join(missing)}; `mooring recover` shows all volumes")
    if not found and cluster is not None:
        raise CommandError(f"no reachable pool has a volume of cluster {cluster}; `mooring recover` shows all volumes")
    if not found and not output:
        sys.stderr.write(
            "nothing is to be recovered: no reachable pool has a volume of another cluster or one without a "
            "PersistentVolume\n"
        )
        if any(each.in_trash for each in inspected.manifests):
            sys.stderr.write("deleted volumes are in the trash; `mooring trash list` shows them\n")
        return 0
    results = [(each, _result(each, failed.get(each.manifest.handle, ""), restores=restores)) for each in found]
    if output:
        data = [_data(each, result) for each, result in results]
        sys.stdout.write(
            json.dumps(data, indent=4) + "\n" if output == "json" else yaml.safe_dump(data, sort_keys=False)
        )
    else:
        sys.stdout.write("\n".join(lines([HEADER, *(_row(each, result) for each, result in results)])) + "\n")
    if not restores and not dry_run:
        sys.stderr.write(_next_step(found, inspected.now.uid))
    return FAILED if failed or any(each.reason and not each.exists for each in found) else 0


async def _recover(
    cluster: str | None, chosen: tuple[str, ...], *, restores: bool, state: Path | None
) -> "tuple[Inspected, list[Recovery], dict[str, str]]":
    """Inspect the disks and restore; return what was found, each volume's decision, and errors by volume handle."""
    from provisioner.admin.recover import inspect  # noqa: PLC0415 # as above
    from provisioner.cli.reach import reach  # noqa: PLC0415 # the help needs no client of clusters
    from provisioner.drivers.client import RpcError  # noqa: PLC0415 # as above
    from provisioner.kube.errors import ApiError  # noqa: PLC0415 # as above

    failed: dict[str, str] = {}
    async with reach(state) as (transport, drivers):
        inspected = await inspect(transport, drivers)
        found = recover(inspected.manifests, inspected.now, cluster=cluster, chosen=chosen)
        restorable = [each.manifest for each in found if each.reason is None] if restores else []
        for number, manifest in enumerate(restorable, start=1):
            if sys.stderr.isatty():
                sys.stderr.write(f"\rrestoring {number} of {len(restorable)}")
            try:
                await inspected.restore(transport, drivers, manifest)
            except (ApiError, RpcError) as error:
                failed[manifest.handle] = error.message
    if restorable and sys.stderr.isatty():
        sys.stderr.write("\n")
    return inspected, found, failed


def _result(recovery: Recovery, failure: str, *, restores: bool) -> str:
    if recovery.exists:
        return "exists"
    if recovery.reason is not None:
        return f"skipped: {recovery.reason.message}"
    if failure:
        return f"failed: {failure}"
    return "restored" if restores else "can be restored"


def _row(recovery: Recovery, result: str) -> tuple[str, ...]:
    data = _data(recovery, result)
    claim = f"{data['namespace']}/{data['claim']}" if data["claim"] else "-"
    return (
        claim,
        data["volume"],
        data["storageClass"] or "-",
        data["since"] or "-",
        data["cluster"] or "-",
        result.replace(f"volume {data['volume']}: ", ""),
    )


def _data(recovery: Recovery, result: str) -> Json:
    """Return a volume as data for -o json and yaml."""
    manifest, holder = recovery.manifest, recovery.manifest.holder
    return {
        "namespace": holder.get(names.HOLDER_NAMESPACE, ""),
        "claim": holder.get(names.HOLDER_CLAIM, ""),
        "volume": manifest.csi_name,
        "handle": manifest.handle,
        "storageClass": holder.get(names.HOLDER_CLASS, ""),
        "capacityBytes": manifest.capacity_bytes,
        "since": manifest.since,
        "cluster": holder.get(names.HOLDER_CLUSTER_UID, ""),
        "result": result.partition(":")[0],
        "reason": recovery.reason.code if recovery.reason else "",
        "message": result,
    }


def _next_step(found: list[Recovery], this_cluster: str) -> str:
    """Return the commands that restore or erase what was found; `this_cluster` is the UID of the current cluster."""
    restorable = [each.manifest for each in found if not each.reason]
    if not restorable:
        return "nothing can be restored; the last column shows why\n"
    clusters = sorted({each.holder.get(names.HOLDER_CLUSTER_UID, "") for each in restorable} - {"", this_cluster})
    message = ""
    if clusters:
        commands = "".join(f"  mooring recover --from-cluster {each}\n" for each in clusters)
        message += f"nothing was changed; if these disks are yours, restore with\n{commands}"
    of_this_cluster = [
        each.csi_name for each in restorable if each.holder.get(names.HOLDER_CLUSTER_UID, "") in {"", this_cluster}
    ]
    if of_this_cluster:
        name = of_this_cluster[0] if len(of_this_cluster) == 1 else "VOLUME"
        message += (
            f"volumes of this cluster without a PersistentVolume: {len(of_this_cluster)}; restore or erase with\n"
            f"  mooring recover --volume {name}\n  mooring volumes erase {name}\n"
        )
    return message
