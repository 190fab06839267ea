"""`mooring adopt`: an admin chooses the former volume that a claim adopts."""

import sys

import click

from provisioner.actions.persistent_volume import claim_ref, rewritten
from provisioner.binding.adoption.manual import candidates, cannot_take, is_changed_first
from provisioner.cli.client import StatusError
from provisioner.cli.exits import BAD_INPUT, USAGE, CommandError
from provisioner.cli.options import Target, with_target
from provisioner.cli.ordinals import selected_claims
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObjectError
from provisioner.model.kinds import CLAIM, NAMESPACE, STORAGE_CLASS, VOLUME, Json
from provisioner.model.names import BOUND_BY_CONTROLLER, IMPORTED_UID, NAMESPACE_UID, RELEASED
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume


@click.command("adopt")
@click.argument("name", metavar="CLAIM")
@click.option("--volume", "volume_name", help="The former volume; required when the claim has several.")
@click.option("--all", "of_set", is_flag=True, help="CLAIM is a StatefulSet: all its claims without a volume.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@with_target
def command(*, name: str, volume_name: str | None, of_set: bool, dry_run: bool, target: Target) -> None:
    """
    Let a claim adopt a former volume that is not adopted automatically.

    A former volume is not adopted automatically when the claim has several, when the volume was released, or when its
    namespace was deleted and recreated since. The data in the volume is not changed.
    """
    if of_set and volume_name:
        raise CommandError(
            "--volume selects a volume for one claim, and --all selects all claims of a StatefulSet; use one of them",
            code=USAGE,
        )
    try:
        pairs = _pairs(target, selected_claims(target, name, of_set=of_set), volume_name, skip=of_set)
    except InvalidObjectError as error:
        raise CommandError(str(error), code=BAD_INPUT) from None
    if not pairs:
        raise CommandError(f"no unbound claim of StatefulSet {target.namespace}/{name} has a former volume")
    for claim, volume in pairs:
        if not dry_run:
            _adopt(target, claim, volume)
        message = f"volume {volume['metadata']['name']} adopted by claim {Claim.of(claim).key}"
        sys.stdout.write(f"{message}{' (dry run)' if dry_run else ''}\n")


def _pairs(target: Target, claims: list[Json], volume_name: str | None, *, skip: bool) -> list[tuple[Json, Json]]:
    """
    Return each claim with the volume that it adopts; all are checked before the first write.

    With `skip`, claims without a former volume are omitted. Raises CommandError and InvalidObjectError.
    """
    found = []
    for each in claims:
        claim = Claim.of(each)
        volume_object = _chosen(target, claim, volume_name)
        if volume_object is None:
            if skip:
                continue
            raise CommandError(f"claim {claim.key} has no former volume; `mooring get pv` lists all volumes")
        volume = Volume.of(volume_object)
        if reason := cannot_take(claim, volume, storage_class=_class(target, claim)):
            raise CommandError(f"claim {claim.key} cannot adopt volume {volume.name}: {reason.message}")
        found.append((each, volume_object))
    return found


def _adopt(target: Target, claim: Json, volume: Json) -> None:
    """Point the volume's claimRef at the claim, unless one of them has changed. Raises CommandError and StatusError."""
    _require_unchanged(target, Claim.of(claim), Volume.of(volume))
    namespace = target.client.get(NAMESPACE, name=claim["metadata"]["namespace"])
    target.client.call(
        "PATCH",
        VOLUME.path("", volume["metadata"]["name"]),
        body=_patch(volume, claim, namespace_uid=namespace["metadata"]["uid"]),
        content_type="application/json-patch+json",
    )


def _class(target: Target, claim: Claim) -> StorageClass | None:
    """Return the claim's class; None when it names none, or one that does not exist. Raises InvalidObjectError."""
    try:
        return StorageClass.of(target.client.get(STORAGE_CLASS, name=claim.class_name)) if claim.class_name else None
    except StatusError as error:
        if error.status != 404:
            raise
        return None


def _chosen(target: Target, claim: Claim, name: str | None) -> Json | None:
    """Return the volume to adopt; None when the claim has no former volume. Raises CommandError when it has several."""
    if name:
        return target.client.get(VOLUME, name=name)
    items = target.client.get(VOLUME).get("items") or []
    found = candidates(claim, [Volume.of(each) for each in items if (each["spec"].get("csi") or {})])
    if len(found) > 1:
        several = ", ".join(each.name for each in found)
        raise CommandError(
            f"claim {claim.key} has several former volumes: {several}; choose one with --volume "
            f"(`mooring history {claim.name}` shows when the claim was bound to each)",
            code=USAGE,
        )
    if not found:
        return None
    chosen: Json = next(each for each in items if each["metadata"]["name"] == found[0].name)
    return chosen


def _require_unchanged(target: Target, claim: Claim, volume: Volume) -> None:
    """Read the claim again, right before the write. Raise CommandError if it was recreated or bound since the check."""
    live = target.client.get(CLAIM, namespace=claim.namespace, name=claim.name)
    if live["metadata"]["uid"] != claim.uid or live["spec"].get("volumeName"):
        raise CommandError(
            f"claim {claim.key} was recreated or bound meanwhile; volume {volume.name} is unchanged; try again"
        )


def _patch(volume: Json, claim: Json, *, namespace_uid: str) -> list[Json]:
    """Return the JSON patch of the volume, which applies only to the version that was checked."""
    annotations = dict(volume["metadata"].get("annotations") or {})
    for dropped in (RELEASED, BOUND_BY_CONTROLLER):
        annotations.pop(dropped, None)
    annotations[NAMESPACE_UID] = namespace_uid
    reference = claim_ref(claim)
    if is_changed_first(Claim.of(claim), Volume.of(volume)):
        reference = {key: value for key, value in reference.items() if key != "resourceVersion"} | {"uid": IMPORTED_UID}
    return rewritten(volume, annotations, reference)
