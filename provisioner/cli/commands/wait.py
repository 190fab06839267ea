"""`mooring wait`: wait until objects are ready, bound or deleted."""

import sys

import click

from provisioner.cli.client import StatusError
from provisioner.cli.commands.explain import explained
from provisioner.cli.exits import CommandError
from provisioner.cli.options import Target, split_names, with_target
from provisioner.cli.waiting import until
from provisioner.model.errors import InvalidObjectError
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

    An object that is being deleted is neither ready nor bound.

    WHAT is KIND NAME… or KIND/NAME…. A StatefulSet is ready when all its pods are ready and no surplus pod exists.
    """
    for kind, name in split_names(what):
        until(
            lambda k=kind, n=name: _missing(target, k, n, condition),  # type: ignore[misc]
            seconds=timeout,
            why=lambda k=kind, n=name: _why(target, k, n),  # type: ignore[misc]
        )
        sys.stdout.write(f"{kind.singular}/{name} condition met\n")


def _missing(target: Target, kind: Kind, name: str, condition: str) -> str:
    """Return why the condition is not met; "" when it is met. Raises StatusError."""
    try:
        obj = target.client.get(kind, namespace=target.within(kind), name=name)
    except StatusError as error:
        if error.status != 404:
            raise
        return "" if condition == "delete" else f"{kind.singular} {name} does not exist"
    if condition == "delete":
        return f"{kind.singular} {name} exists"
    if "deletionTimestamp" in obj["metadata"]:
        return f"{kind.singular} {name} is being deleted, and so not {condition}"
    met = is_bound(obj) if condition == "bound" else is_ready(kind, obj)
    return "" if met else f"{kind.singular} {name} is not {condition}"


def _why(target: Target, kind: Kind, name: str) -> str:
    """Return the message of `mooring explain` about a claim, volume or pod; "" for other kinds and errors."""
    if kind not in {CLAIM, VOLUME, POD}:
        return ""
    try:
        return explained(target, kind, name).message
    except (CommandError, InvalidObjectError):
        return ""  # it was deleted meanwhile or is invalid; the condition is reported without it


def is_bound(obj: Json) -> bool:
    """Report whether a claim or volume is Bound."""
    return bool((obj.get("status") or {}).get("phase") == "Bound")


def is_ready(kind: Kind, obj: Json) -> bool:
    """Report whether the object's status says that it is ready."""
    status = obj.get("status") or {}
    if "deletionTimestamp" in obj["metadata"]:
        return False
    if kind in {CLAIM, VOLUME}:
        return is_bound(obj)
    if kind is STATEFUL_SET:
        desired = obj["spec"].get("replicas", 1)
        current = status.get("observedGeneration") == obj["metadata"].get("generation")
        return bool(current and status.get("readyReplicas", 0) == status.get("replicas", 0) == desired)
    conditions = status.get("conditions") or []
    ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    return ready if kind is POD or conditions else True
