"""`mooring release`: a volume that no claim gets back by itself any longer."""

import datetime as dt
import sys

import click

from provisioner.binding.adoption.manual import cannot_release
from provisioner.cli.client import Refused
from provisioner.cli.exits import BAD_INPUT, CommandFailed
from provisioner.cli.options import Target, with_target
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObject
from provisioner.model.kinds import CLAIM, VOLUME, Json
from provisioner.model.names import RELEASED, RELEASED_UID
from provisioner.model.volume import Volume


@click.command("release")
@click.argument("volume_name", metavar="VOLUME")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@with_target
def command(*, volume_name: str, dry_run: bool, target: Target) -> None:
    """
    Let a volume go: no claim gets it back by itself.

    The volume and its data stay, and still nobody else gets them. `mooring adopt` gives it back.
    """
    found = target.client.get(VOLUME, name=volume_name)
    try:
        volume = Volume.of(found)
        holder = _holder(target, volume)
    except InvalidObject as error:
        raise CommandFailed(str(error), code=BAD_INPUT) from None
    if reason := cannot_release(volume, holder):
        raise CommandFailed(reason.message)
    said = f"volume {volume.name} released; claims named {volume.claim_ref} no longer get it back"
    if RELEASED in volume.annotations:
        sys.stdout.write(f"{said} (unchanged)\n")
        return
    if not dry_run:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body: Json = {"metadata": {"resourceVersion": volume.resource_version, "annotations": {RELEASED: now}}}
        if volume.claim_ref is not None and not volume.claim_ref.uid:
            body["spec"] = {"claimRef": {"uid": RELEASED_UID}}  # the binder gives a name alone to whoever bears it
        target.client.call(
            "PATCH", VOLUME.path("", volume.name), body=body, content_type="application/merge-patch+json"
        )
    sys.stdout.write(f"{said}{' (dry run)' if dry_run else ''}\n")


def _holder(target: Target, volume: Volume) -> Claim | None:
    """The claim of the name in its claimRef, if there is one."""
    ref = volume.claim_ref
    if ref is None:
        return None
    try:
        return Claim.of(target.client.get(CLAIM, namespace=ref.namespace, name=ref.name))
    except Refused as error:
        if error.status != 404:
            raise
        return None
