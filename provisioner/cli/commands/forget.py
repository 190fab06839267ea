"""`mooring forget`: give a claim a new volume instead of its former one."""

import sys

import click

from provisioner.binding.adoption.manual import candidates
from provisioner.cli.exits import BAD_INPUT, CommandError
from provisioner.cli.options import Target, with_target
from provisioner.cli.ordinals import selected_claims
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObjectError
from provisioner.model.kinds import CLAIM, VOLUME
from provisioner.model.names import FORGET
from provisioner.model.volume import Volume


@click.command("forget")
@click.argument("name", metavar="CLAIM")
@click.option("--all", "of_set", is_flag=True, help="CLAIM is a StatefulSet: all its claims without a volume.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@with_target
def command(*, name: str, of_set: bool, dry_run: bool, target: Target) -> None:
    """
    Give a claim a new volume instead of its former one.

    For a claim that waits because its former volume cannot be adopted. The former volume and its data are retained. The
    next claim of the same name adopts the new volume.
    """
    try:
        claims = [Claim.of(each) for each in selected_claims(target, name, of_set=of_set)]
        items = target.client.get(VOLUME).get("items") or []
        volumes = [Volume.of(each) for each in items if each["spec"].get("csi")]
    except InvalidObjectError as error:
        raise CommandError(str(error), code=BAD_INPUT) from None
    for claim in claims:
        if claim.volume_name:
            raise CommandError(
                f"claim {claim.key} has volume {claim.volume_name}; only a claim without a volume can get a new one"
            )
    for claim in claims:
        if not dry_run:
            _mark(target, claim)
        former = candidates(claim, volumes)
        left = f"; unchanged: {', '.join(each.name for each in former)}" if former else ""
        sys.stdout.write(f"claim {claim.key} gets a new volume{left}{' (dry run)' if dry_run else ''}\n")


def _mark(target: Target, claim: Claim) -> None:
    target.client.call(
        "PATCH",
        CLAIM.path(claim.namespace, claim.name),
        body={"metadata": {"annotations": {FORGET: claim.uid}}},
        content_type="application/merge-patch+json",
    )
