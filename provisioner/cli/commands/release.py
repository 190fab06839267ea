"""`mooring release`: exclude a volume from automatic adoption."""

import datetime as dt
import sys

import click

from provisioner.binding.adoption.manual import cannot_release
from provisioner.cli.client import StatusError
from provisioner.cli.exits import BAD_INPUT, CommandError
from provisioner.cli.options import Target, with_target
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObjectError
from provisioner.model.kinds import CLAIM, VOLUME, Json
from provisioner.model.names import RELEASED, RELEASED_UID
from provisioner.model.volume import Volume


@click.command("release")
@click.argument("volume_name", metavar="VOLUME")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@with_target
def command(*, volume_name: str, dry_run: bool, target: Target) -> None:
    """
    Exclude a volume from automatic adoption.

    The volume and its data are retained, and no other claim is bound to it. `mooring adopt` overrides this.
    """
    found = target.client.get(VOLUME, name=volume_name)
    try:
        volume = Volume.of(found)
        claim = _claim(target, volume)
    except InvalidObjectError as error:
        raise CommandError(str(error), code=BAD_INPUT) from None
    if reason := cannot_release(volume, claim):
        raise CommandError(reason.message)
    message = f"volume {volume.name} released; claims named {volume.claim_ref} no longer adopt it automatically"
    if RELEASED in volume.annotations:
        sys.stdout.write(f"{message} (unchanged)\n")
        return
    if not dry_run:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body: Json = {"metadata": {"resourceVersion": volume.resource_version, "annotations": {RELEASED: now}}}
        if volume.claim_ref is not None and not volume.claim_ref.uid:
            body["spec"] = {"claimRef": {"uid": RELEASED_UID}}  # else the binder binds it to any claim of that name
        target.client.call(
            "PATCH", VOLUME.path("", volume.name), body=body, content_type="application/merge-patch+json"
        )
    sys.stdout.write(f"{message}{' (dry run)' if dry_run else ''}\n")


def _claim(target: Target, volume: Volume) -> Claim | None:
    """Return the claim of the volume's claimRef; None when there is none. Raises InvalidObjectError, StatusError."""
    ref = volume.claim_ref
    if ref is None:
        return None
    try:
        return Claim.of(target.client.get(CLAIM, namespace=ref.namespace, name=ref.name))
    except StatusError as error:
        if error.status != 404:
            raise
        return None
