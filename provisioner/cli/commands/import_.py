"""`mooring import`: what lies on a node's disk already becomes the volume of a claim."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from provisioner.cli.exits import BAD_INPUT, USAGE, CommandFailed
from provisioner.cli.options import Size, state_option
from provisioner.model.errors import InvalidObject

FOLDER = "import"


@click.command("import")
@click.argument("path")
@click.option("--claim", "key", required=True, metavar="[NAMESPACE/]NAME", help="Whose volume it shall be.")
@click.option("--node", help="Where it lies; needed when several nodes have a driver.")
@click.option("--pool", default="", help="In which pool; needed when several have such a thing.")
@click.option("--class", "class_name", default="", help="The StorageClass, while the claim does not exist.")
@click.option("--size", type=Size(), default=0, help="As above: how large it shall be; an image knows it itself.")
@click.option("--access-mode", "modes", multiple=True, default=["ReadWriteOnce"], help="As above; may be repeated.")
@click.option("--block", is_flag=True, help="As above: whether it shall be a raw block device.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@state_option
def command(
    *,
    path: str,
    key: str,
    node: str | None,
    pool: str,
    class_name: str,
    size: int,
    modes: tuple[str, ...],
    block: bool,
    dry_run: bool,
    state: Path | None,
) -> None:
    """
    Make a volume of a directory or an image that is there already.

    PATH lies in the folder `import` of a pool; its name there will do. It is moved into the volume, not copied. The
    claim gets the volume at once, or as soon as it comes. In a cluster, run it in the controller's pod:
    kubectl -n mooring-system exec deployment/mooring-controller -- mooring import ...
    """
    namespace, slash, claim = key.rpartition("/")
    if not claim or (slash and not namespace):
        raise CommandFailed(f"{key!r} is not of the form [NAMESPACE/]NAME", code=USAGE)
    item, namespace = _item(path), namespace or "default"

    async def carry_out() -> str:
        from provisioner.admin.import_volume import ImportRequest, plan  # noqa: PLC0415 # as above
        from provisioner.cli.reach import reach  # noqa: PLC0415 # the help needs no client of clusters

        async with reach(state) as (transport, drivers):
            wish = ImportRequest(
                item=item,
                namespace=namespace,
                claim=claim,
                node=_one(drivers.nodes(), node),
                pool=pool,
                class_name=class_name,
                size_bytes=size,
                modes=modes,
                raw=block,
            )
            planned = await plan(transport, wish)
            if planned.reason is not None:
                raise CommandFailed(f"{item} cannot be imported for claim {wish.key}: {planned.reason.message}")
            return wish.volume if dry_run else await planned.carry_out(transport, drivers)

    try:
        volume = asyncio.run(carry_out())
    except InvalidObject as error:
        raise CommandFailed(str(error), code=BAD_INPUT) from None
    said = f"volume {volume} made of {item} for claim {namespace}/{claim}"
    sys.stdout.write(f"{said}{' (dry run)' if dry_run else ''}\n")


def _item(path: str) -> str:
    """Its name in the folder. Raises CommandFailed for a path that leads elsewhere."""
    given = Path(path)
    if len(given.parts) != 1 and given.parent.name != FOLDER:
        raise CommandFailed(
            f"{path} is not in the folder {FOLDER} of a pool, the only place that things are taken from; move it there",
            code=USAGE,
        )
    return given.name


def _one(nodes: Sequence[str], wanted: str | None) -> str:
    """The node that is meant. Raises CommandFailed."""
    shown = ", ".join(nodes) or "none"
    if wanted is not None and wanted not in nodes:
        raise CommandFailed(f"node {wanted} has no driver that can be reached; there are: {shown}")
    if wanted is None and len(nodes) != 1:
        raise CommandFailed(f"say on which node it lies, with --node; there are: {shown}", code=USAGE)
    return wanted or nodes[0]
