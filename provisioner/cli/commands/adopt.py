"""`mooring adopt`: an admin's word that a claim gets a certain former volume back."""

import sys

import click

from provisioner.binding.by_hand import candidates, cannot_take
from provisioner.cli.exits import BAD_INPUT, USAGE, CommandFailed
from provisioner.cli.options import Target, with_target
from provisioner.controllers.volume_object import claim_ref, rewritten
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObject
from provisioner.model.kinds import CLAIM, NAMESPACE, VOLUME, Json
from provisioner.model.names import BOUND_BY_CONTROLLER, NAMESPACE_UID, RELEASED
from provisioner.model.volume import Volume


@click.command("adopt")
@click.argument("claim_name", metavar="CLAIM")
@click.option("--volume", "volume_name", help="Which one; needed when the claim has several former volumes.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@with_target
def command(*, claim_name: str, volume_name: str | None, dry_run: bool, target: Target) -> None:
    """
    Give a claim its former volume back where Mooring asks first.

    That is when there are several, when it was released, or when it belonged to a namespace of the same name that has
    been made anew. The data in the volume stays as it is.
    """
    claim_object = target.client.get(CLAIM, namespace=target.namespace, name=claim_name)
    try:
        claim = Claim.of(claim_object)
        volume_object = _chosen(target, claim, volume_name)
        volume = Volume.of(volume_object)
    except InvalidObject as error:
        raise CommandFailed(str(error), code=BAD_INPUT) from None
    if reason := cannot_take(claim, volume):
        raise CommandFailed(f"claim {claim.key} cannot have volume {volume.name}: {reason.sentence}")
    _require_unchanged(target, claim, volume)
    said = f"volume {volume.name} given to claim {claim.key}"
    if dry_run:
        sys.stdout.write(f"{said} (dry run)\n")
        return
    namespace = target.client.get(NAMESPACE, name=claim.namespace)
    target.client.call(
        "PATCH",
        VOLUME.path("", volume.name),
        body=_patch(volume_object, claim_object, namespace_uid=namespace["metadata"]["uid"]),
        content_type="application/json-patch+json",
    )
    sys.stdout.write(f"{said}\n")


def _chosen(target: Target, claim: Claim, name: str | None) -> Json:
    """The volume that is meant. Raises CommandFailed when that cannot be told."""
    if name:
        return target.client.get(VOLUME, name=name)
    items = target.client.get(VOLUME).get("items") or []
    found = candidates(claim, [Volume.of(each) for each in items if (each["spec"].get("csi") or {})])
    if len(found) > 1:
        several = ", ".join(each.name for each in found)
        raise CommandFailed(
            f"claim {claim.key} has several former volumes: {several}; say which with --volume "
            f"(`mooring history {claim.name}` tells when it had them)",
            code=USAGE,
        )
    if not found:
        raise CommandFailed(f"claim {claim.key} has no former volume; `mooring get pv` shows all there are")
    return next(each for each in items if each["metadata"]["name"] == found[0].name)


def _require_unchanged(target: Target, claim: Claim, volume: Volume) -> None:
    """The claim as it was judged, read once more right before the write."""
    live = target.client.get(CLAIM, namespace=claim.namespace, name=claim.name)
    if live["metadata"]["uid"] != claim.uid or live["spec"].get("volumeName"):
        raise CommandFailed(f"claim {claim.key} changed meanwhile, and volume {volume.name} was left alone; try again")


def _patch(volume: Json, claim: Json, *, namespace_uid: str) -> list[Json]:
    """Whole or not at all, and only on the volume as it was judged."""
    annotations = dict(volume["metadata"].get("annotations") or {})
    for dropped in (RELEASED, BOUND_BY_CONTROLLER):
        annotations.pop(dropped, None)
    annotations[NAMESPACE_UID] = namespace_uid
    return rewritten(volume, annotations, claim_ref(claim))
