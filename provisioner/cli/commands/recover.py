"""`mooring recover`: the PersistentVolumes of a cluster whose API server's data is lost, from its disks alone."""

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import yaml

from provisioner.binding.lifecycle.recover import Recovery, recover
from provisioner.cli.exits import FAILED, CommandFailed
from provisioner.cli.options import state_option
from provisioner.cli.table import lines
from provisioner.model import names
from provisioner.model.kinds import Json

if TYPE_CHECKING:
    from provisioner.admin.recover import Inspected

HEADER = ("CLAIM", "VOLUME", "CLASS", "HELD SINCE", "FROM CLUSTER", "RESULT")


@click.command("recover")
@click.option(
    "--from-cluster", "cluster", metavar="UID", help="Restore the volumes of this cluster: its disks are yours."
)
@click.option(
    "--volume", "chosen", multiple=True, help="Restore this volume, too, whatever is doubtful. May be repeated."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="As data.")
@state_option
def command(
    *, cluster: str | None, chosen: tuple[str, ...], dry_run: bool, output: str | None, state: Path | None
) -> int:
    """
    Give volumes their objects back after the API server's data was lost.

    The disks know what was on them and whose it was. Without --from-cluster and --volume nothing is changed, and what
    could be restored is shown. Then apply your StatefulSets: every ordinal finds its own volume. In a cluster, run it
    in the controller's pod: kubectl -n mooring-system exec deployment/mooring-controller -- mooring recover
    """
    acts = not dry_run and bool(cluster or chosen)
    seen, found, failed = asyncio.run(_recover(cluster, chosen, acts=acts, state=state))
    if missing := sorted(set(chosen) - {each.manifest.csi_name for each in found}):
        raise CommandFailed(f"no pool that can be reached has volume {', '.join(missing)}; `mooring recover` shows all")
    if not found and cluster is not None:
        raise CommandFailed(
            f"no pool that can be reached has a volume of cluster {cluster}; `mooring recover` shows all"
        )
    if not found and not output:
        sys.stderr.write(
            "nothing is to be recovered: no pool that can be reached has a volume of another cluster, or one without a "
            "PersistentVolume\n"
        )
        if any(each.in_trash for each in seen.manifests):
            sys.stderr.write("deleted volumes are in the trash; `mooring trash list` shows them\n")
        return 0
    results = [(each, _result(each, failed.get(each.manifest.handle, ""), acts=acts)) for each in found]
    if output:
        data = [_data(each, result) for each, result in results]
        sys.stdout.write(
            json.dumps(data, indent=4) + "\n" if output == "json" else yaml.safe_dump(data, sort_keys=False)
        )
    else:
        sys.stdout.write("\n".join(lines([HEADER, *(_row(each, result) for each, result in results)])) + "\n")
    if not acts and not dry_run:
        sys.stderr.write(_next_step(found, seen.now.uid))
    return FAILED if failed or any(each.reason and not each.is_there for each in found) else 0


async def _recover(
    cluster: str | None, chosen: tuple[str, ...], *, acts: bool, state: Path | None
) -> "tuple[Inspected, list[Recovery], dict[str, str]]":
    """What was seen, what was decided, and by handle what went wrong in doing it."""
    from provisioner.admin.recover import inspect  # noqa: PLC0415 # as above
    from provisioner.cli.reach import reach  # noqa: PLC0415 # the help needs no client of clusters
    from provisioner.drivers.client import RpcError  # noqa: PLC0415 # as above
    from provisioner.kube.errors import ApiError  # noqa: PLC0415 # as above

    failed: dict[str, str] = {}
    async with reach(state) as (transport, drivers):
        seen = await inspect(transport, drivers)
        found = recover(seen.manifests, seen.now, cluster=cluster, chosen=chosen)
        wanted = [each.manifest for each in found if each.reason is None] if acts else []
        for number, manifest in enumerate(wanted, start=1):
            if sys.stderr.isatty():
                sys.stderr.write(f"\rrestoring {number} of {len(wanted)}")
            try:
                await seen.restore(transport, drivers, manifest)
            except (ApiError, RpcError) as error:
                failed[manifest.handle] = error.message
    if wanted and sys.stderr.isatty():
        sys.stderr.write("\n")
    return seen, found, failed


def _result(recovery: Recovery, failure: str, *, acts: bool) -> str:
    if recovery.is_there:
        return "there"
    if recovery.reason is not None:
        return f"left: {recovery.reason.message}"
    if failure:
        return f"failed: {failure}"
    return "restored" if acts else "can be restored"


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
    """For programs."""
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


def _next_step(found: list[Recovery], here: str) -> str:
    """How to go on after a look; `here` is this cluster's UID."""
    can = [each.manifest for each in found if not each.reason]
    if not can:
        return "nothing can be restored as it is; the last column says why\n"
    clusters = sorted({each.holder.get(names.HOLDER_CLUSTER_UID, "") for each in can} - {"", here})
    said = ""
    if clusters:
        commands = "".join(f"  mooring recover --from-cluster {each}\n" for each in clusters)
        said += f"nothing was changed; if these disks are yours, restore with\n{commands}"
    own = [each.csi_name for each in can if each.holder.get(names.HOLDER_CLUSTER_UID, "") in {"", here}]
    if own:
        name = own[0] if len(own) == 1 else "VOLUME"
        said += (
            f"volumes of this cluster without a PersistentVolume: {len(own)}; restore or erase with\n"
            f"  mooring recover --volume {name}\n  mooring volumes erase {name}\n"
        )
    return said
