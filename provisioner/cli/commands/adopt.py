"""`mooring adopt`: an admin's word that a claim gets a certain former volume back."""

import sys

import click

from provisioner.actions.persistent_volume import claim_ref, rewritten
from provisioner.binding.adoption.manual import candidates, cannot_take, is_changed_first
from provisioner.cli.client import Refused
from provisioner.cli.exits import BAD_INPUT, USAGE, CommandFailed
from provisioner.cli.options import Target, with_target
from provisioner.cli.ordinals import claims_meant
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObject
from provisioner.model.kinds import CLAIM, NAMESPACE, STORAGE_CLASS, VOLUME, Json
from provisioner.model.names import BOUND_BY_CONTROLLER, IMPORTED_UID, NAMESPACE_UID, RELEASED
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume


@click.command("adopt")
@click.argument("name", metavar="CLAIM")
@click.option("--volume", "volume_name", help="Which one; needed when the claim has several former volumes.")
@click.option("--all", "of_set", is_flag=True, help="CLAIM is a StatefulSet: all its claims that wait.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@with_target
def command(*, name: str, volume_name: str | None, of_set: bool, dry_run: bool, target: Target) -> None:
    """
    Give a claim its former volume back where Mooring asks first.

    That is when there are several, when it was released, or when it belonged to a namespace of the same name that was
    deleted and recreated since. The data in the volume stays as it is.
    """
    if of_set and volume_name:
        raise CommandFailed("--volume is for one claim, and --all for all of a StatefulSet", code=USAGE)
    try:
        pairs = _pairs(target, claims_meant(target, name, of_set=of_set), volume_name, skip=of_set)
    except InvalidObject as error:
        raise CommandFailed(str(error), code=BAD_INPUT) from None
    if not pairs:
        raise CommandFailed(f"no waiting claim of StatefulSet {target.namespace}/{name} has a former volume")
    for claim, volume in pairs:
        if not dry_run:
            _give(target, claim, volume)
        said = f"volume {volume['metadata']['name']} given to claim {Claim.of(claim).key}"
        sys.stdout.write(f"{said}{' (dry run)' if dry_run else ''}\n")


def _pairs(target: Target, claims: list[Json], volume_name: str | None, *, skip: bool) -> list[tuple[Json, Json]]:
    """
    Each claim and the volume that it gets, all checked before the first is written.

    With `skip`, claims without any former volume are left out. Raises CommandFailed and InvalidObject.
    """
    found = []
    for each in claims:
        claim = Claim.of(each)
        volume_object = _chosen(target, claim, volume_name)
        if volume_object is None:
            if skip:
                continue
            raise CommandFailed(f"claim {claim.key} has no former volume; `mooring get pv` shows all there are")
        volume = Volume.of(volume_object)
        if reason := cannot_take(claim, volume, storage_class=_class(target, claim)):
            raise CommandFailed(f"claim {claim.key} cannot have volume {volume.name}: {reason.message}")
        found.append((each, volume_object))
    return found


def _give(target: Target, claim: Json, volume: Json) -> None:
    """Write it, on the claim and the volume as they were checked. Raises CommandFailed and Refused."""
    _require_unchanged(target, Claim.of(claim), Volume.of(volume))
    namespace = target.client.get(NAMESPACE, name=claim["metadata"]["namespace"])
    target.client.call(
        "PATCH",
        VOLUME.path("", volume["metadata"]["name"]),
        body=_patch(volume, claim, namespace_uid=namespace["metadata"]["uid"]),
        content_type="application/json-patch+json",
    )


def _class(target: Target, claim: Claim) -> StorageClass | None:
    """The claim's class; None when it names none, or one that does not exist. Raises InvalidObject."""
    try:
        return StorageClass.of(target.client.get(STORAGE_CLASS, name=claim.class_name)) if claim.class_name else None
    except Refused as error:
        if error.status != 404:
            raise
        return None


def _chosen(target: Target, claim: Claim, name: str | None) -> Json | None:
    """The volume that is meant; None when the claim has none. Raises CommandFailed when that cannot be told."""
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
        return None
    chosen: Json = next(each for each in items if each["metadata"]["name"] == found[0].name)
    return chosen


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
    reference = claim_ref(claim)
    if is_changed_first(Claim.of(claim), Volume.of(volume)):
        reference = {key: value for key, value in reference.items() if key != "resourceVersion"} | {"uid": IMPORTED_UID}
    return rewritten(volume, annotations, reference)
