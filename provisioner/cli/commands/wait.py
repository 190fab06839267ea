"""`mooring wait`: until objects are ready, bound or deleted."""

import sys

import click

from provisioner.cli.client import Refused
from provisioner.cli.commands.explain import explained
from provisioner.cli.exits import CommandFailed
from provisioner.cli.options import Target, split_names, with_target
from provisioner.cli.waiting import until
from provisioner.model.errors import InvalidObject
from provisioner.model.kinds import CLAIM, POD, STATEFUL_SET, VOLUME, Json, Kind

CONDITIONS = ("ready", "bound", "delete")


@click.command("wait")
@click.argument("what", nargs=-1, required=True)
@click.option("--for", "condition", type=click.Choice(CONDITIONS), required=True, help="What to wait for.")
@click.option("--timeout", type=click.FloatRange(min=0), default=60.0, help="Seconds to wait.")
@with_target
def command(*, what: tuple[str, ...], condition: str, timeout: float, target: Target) -> None:
    """
    Wait for objects to become ready, bound or deleted.

    What is being deleted is neither ready nor bound.

    WHAT is KIND NAME… or KIND/NAME…. A StatefulSet is ready when all its pods are, and no other is left.
    """
    for kind, name in split_names(what):
        until(
            lambda k=kind, n=name: _missing(target, k, n, condition),  # type: ignore[misc]
            seconds=timeout,
            why=lambda k=kind, n=name: _why(target, k, n),  # type: ignore[misc]
        )
        sys.stdout.write(f"{kind.singular}/{name} condition met\n")


def _missing(target: Target, kind: Kind, name: str, condition: str) -> str:
    """What is not so yet; "" when it is."""
    try:
        obj = target.client.get(kind, namespace=target.within(kind), name=name)
    except Refused as error:
        if error.status != 404:
            raise
        return "" if condition == "delete" else f"{kind.singular} {name} is not there"
    if condition == "delete":
        return f"{kind.singular} {name} is there"
    if "deletionTimestamp" in obj["metadata"]:
        return f"{kind.singular} {name} is being deleted, so that it is not {condition}"
    met = is_bound(obj) if condition == "bound" else is_ready(kind, obj)
    return "" if met else f"{kind.singular} {name} is not {condition}"


def _why(target: Target, kind: Kind, name: str) -> str:
    """What `mooring explain` says of a claim, a volume or a pod that is not so yet; "" of another kind."""
    if kind not in {CLAIM, VOLUME, POD}:
        return ""
    try:
        return explained(target, kind, name).message
    except (CommandFailed, InvalidObject):
        return ""  # it went meanwhile, or cannot be read: what is missing was said


def is_bound(obj: Json) -> bool:
    """Of a claim or volume."""
    return bool((obj.get("status") or {}).get("phase") == "Bound")


def is_ready(kind: Kind, obj: Json) -> bool:
    """As its status says."""
    status = obj.get("status") or {}
    if "deletionTimestamp" in obj["metadata"]:
        return False
    if kind in {CLAIM, VOLUME}:
        return is_bound(obj)
    if kind is STATEFUL_SET:
        wanted = obj["spec"].get("replicas", 1)
        current = status.get("observedGeneration") == obj["metadata"].get("generation")
        return bool(current and status.get("readyReplicas", 0) == status.get("replicas", 0) == wanted)
    conditions = status.get("conditions") or []
    ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    return ready if kind is POD or conditions else True
