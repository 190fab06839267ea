"""`mooring apply -f`: create or update objects from manifest files."""

import sys

import click

from provisioner.cli.client import StatusError
from provisioner.cli.exits import FAILED, OK
from provisioner.cli.manifests import read_all
from provisioner.cli.merging import last_applied, patch_of, with_last_applied
from provisioner.cli.options import Target, with_target
from provisioner.model.kinds import Json, Kind

MERGE = "application/merge-patch+json"
STRICT = {"fieldValidation": "Strict", "fieldManager": "mooring"}


@click.command("apply")
@click.option("-f", "--filename", "sources", multiple=True, required=True, help="File, directory, or - for stdin.")
@with_target
def command(*, sources: tuple[str, ...], target: Target) -> int:
    """Create or update objects from manifest files."""
    code = OK
    for kind, obj in read_all(sources):
        try:
            verb = _apply(target, kind, obj)
        except StatusError as error:
            sys.stderr.write(f"mooring: {kind.singular} {obj['metadata']['name']}: {error}\n")
            code = FAILED
            continue
        group = f".{kind.group}" if kind.group else ""
        sys.stdout.write(f"{kind.singular}{group}/{obj['metadata']['name']} {verb}\n")
    return code


def _apply(target: Target, kind: Kind, obj: Json) -> str:
    """Create or patch one object, and return what was done: created, unchanged or configured. Raises StatusError."""
    name = obj["metadata"]["name"]
    namespace = (obj["metadata"].get("namespace") or target.namespace) if kind.namespaced else ""
    desired = with_last_applied(obj)
    try:
        live = target.client.get(kind, namespace=namespace, name=name)
    except StatusError as error:
        if error.status != 404:
            raise
        target.client.call("POST", kind.path(namespace), body=desired, query=STRICT)
        return "created"
    last = last_applied(live)
    if not patch_of(last=last, desired=obj, live=live):
        return "unchanged"
    patch = patch_of(last=last, desired=desired, live=live)
    target.client.call("PATCH", kind.path(namespace, name), body=patch, query=STRICT, content_type=MERGE)
    return "configured"
