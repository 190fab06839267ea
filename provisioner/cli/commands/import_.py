"""`mooring import`: turn a directory or an image on a node's disk into the volume of a claim."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from provisioner.cli.exits import BAD_INPUT, USAGE, CommandError
from provisioner.cli.options import Size, state_option
from provisioner.model.errors import InvalidObjectError

FOLDER = "import"


@click.command("import")
@click.argument("path")
@click.option("--claim", "key", required=True, metavar="[NAMESPACE/]NAME", help="The claim that gets the volume.")
@click.option("--node", help="The node with the data; required when several nodes have a driver.")
@click.option("--pool", default="", help="The pool; required when several pools of the node have PATH.")
@click.option("--class", "class_name", default="", help="If the claim does not exist: its StorageClass.")
@click.option("--size", type=Size(), default=0, help="If the claim does not exist: the size; an image has its own.")
@click.option(
    "--access-mode",
    "modes",
    multiple=True,
    default=["ReadWriteOnce"],
    help="If the claim does not exist: an access mode; may be repeated.",
)
@click.option("--block", is_flag=True, help="If the claim does not exist: make it a raw block volume.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
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
    Make a volume of an existing directory or image.

    PATH is in the folder `import` of a pool; its name in that folder is enough. The data is moved into the volume, not
    copied. The claim is bound to it at once, or when it is created. In a cluster, run it in the controller's pod:
    kubectl -n mooring-system exec deployment/mooring-controller -- mooring import ...
    """
    namespace, slash, claim = key.rpartition("/")
    if not claim or (slash and not namespace):
        raise CommandError(f"{key!r} is not of the form [NAMESPACE/]NAME", code=USAGE)
    item, namespace = _item(path), namespace or "default"

    async def carry_out() -> str:
        from provisioner.admin.import_volume import ImportRequest, plan  # noqa: PLC0415 # as above
        from provisioner.cli.reach import reach  # noqa: PLC0415 # the help needs no client of clusters

        async with reach(state) as (transport, drivers):
            request = ImportRequest(
                item=item,
                namespace=namespace,
                claim=claim,
                node=_node(drivers.nodes(), node),
                pool=pool,
                class_name=class_name,
                size_bytes=size,
                modes=modes,
                raw=block,
            )
            planned = await plan(transport, request)
            if planned.reason is not None:
                raise CommandError(f"{item} cannot be imported for claim {request.key}: {planned.reason.message}")
            return request.volume if dry_run else await planned.carry_out(transport, drivers)

    try:
        volume = asyncio.run(carry_out())
    except InvalidObjectError as error:
        raise CommandError(str(error), code=BAD_INPUT) from None
    message = f"volume {volume} imported from {item} for claim {namespace}/{claim}"
    sys.stdout.write(f"{message}{' (dry run)' if dry_run else ''}\n")


def _item(path: str) -> str:
    """Return the item's name in the folder `import`. Raises CommandError for a path outside of such a folder."""
    source = Path(path)
    if len(source.parts) != 1 and source.parent.name != FOLDER:
        raise CommandError(
            f"{path} is not in the folder {FOLDER} of a pool; only data in that folder can be imported; move it there",
            code=USAGE,
        )
    return source.name


def _node(nodes: Sequence[str], requested: str | None) -> str:
    """Return the node to import on. Raises CommandError when it is unknown, or not given and not the only one."""
    shown = ", ".join(nodes) or "none"
    if requested is not None and requested not in nodes:
        raise CommandError(
            f"node {requested} has no driver that can be reached; nodes with a reachable driver: {shown}"
        )
    if requested is None and len(nodes) != 1:
        raise CommandError(
            f"choose the node with the data, with --node; nodes with a reachable driver: {shown}", code=USAGE
        )
    return requested or nodes[0]
