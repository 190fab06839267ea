"""`mooring forget`: a claim that gets a new volume although it had one before."""

import sys

import click

from provisioner.binding.adoption.manual import candidates
from provisioner.cli.exits import BAD_INPUT, CommandFailed
from provisioner.cli.options import Target, with_target
from provisioner.cli.ordinals import claims_meant
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObject
from provisioner.model.kinds import CLAIM, VOLUME
from provisioner.model.names import FORGET
from provisioner.model.volume import Volume


@click.command("forget")
@click.argument("name", metavar="CLAIM")
@click.option("--all", "of_set", is_flag=True, help="CLAIM is a StatefulSet: all its claims that wait.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@with_target
def command(*, name: str, of_set: bool, dry_run: bool, target: Target) -> None:
    """
    Give a claim a new volume, and leave its former one where it is.

    For a claim that waits because its former volume may not be given back. That keeps its data; the next claim of the
    same name gets the volume that is made now.
    """
    try:
        claims = [Claim.of(each) for each in claims_meant(target, name, of_set=of_set)]
        items = target.client.get(VOLUME).get("items") or []
        volumes = [Volume.of(each) for each in items if each["spec"].get("csi")]
    except InvalidObject as error:
        raise CommandFailed(str(error), code=BAD_INPUT) from None
    for claim in claims:
        if claim.volume_name:
            raise CommandFailed(f"claim {claim.key} has volume {claim.volume_name} already; there is nothing to forget")
    for claim in claims:
        if not dry_run:
            _mark(target, claim)
        former = candidates(claim, volumes)
        left = f"; left as they are: {', '.join(each.name for each in former)}" if former else ""
        sys.stdout.write(f"claim {claim.key} gets a new volume{left}{' (dry run)' if dry_run else ''}\n")


def _mark(target: Target, claim: Claim) -> None:
    target.client.call(
        "PATCH",
        CLAIM.path(claim.namespace, claim.name),
        body={"metadata": {"annotations": {FORGET: claim.uid}}},
        content_type="application/merge-patch+json",
    )
