"""`mooring delete`: delete objects by name, by label or by file, and wait until they do not exist any more."""

import sys

import click

from provisioner.cli.client import StatusError
from provisioner.cli.exits import FAILED, OK, USAGE, CommandError
from provisioner.cli.manifests import read_all
from provisioner.cli.options import Target, split_names, with_target
from provisioner.cli.waiting import until
from provisioner.model.kinds import Json, Kind

PROPAGATION = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}

ObjectKey = tuple[Kind, str, str]
"""(kind, namespace, name); the namespace of a cluster-scoped object is ""."""


@click.command("delete")
@click.argument("what", nargs=-1)
@click.option("-f", "--filename", "sources", multiple=True, help="Delete the objects in these files.")
@click.option("-l", "--selector", default="", help="Delete all objects of the kind with these labels.")
@click.option("--all", "everything", is_flag=True, help="Delete all objects of the kind in the namespace.")
@click.option(
    "--cascade", type=click.Choice(list(PROPAGATION)), default="background", help="How dependents are deleted."
)
@click.option("--grace-period", type=click.IntRange(min=0), help="Seconds for a pod to terminate; 0 kills it at once.")
@click.option("--ignore-not-found", is_flag=True, help="Succeed for objects that do not exist.")
@click.option("--wait/--no-wait", default=True, help="Wait until the objects no longer exist.")
@click.option("--timeout", type=click.FloatRange(min=0), default=120.0, help="Seconds to wait.")
@with_target
def command(
    *,
    what: tuple[str, ...],
    sources: tuple[str, ...],
    selector: str,
    everything: bool,
    cascade: str,
    grace_period: int | None,
    ignore_not_found: bool,
    wait: bool,
    timeout: float,
    target: Target,
) -> int:
    """
    Delete objects.

    WHAT is KIND NAME… or KIND/NAME…; with -l or --all, KIND alone.
    """
    options: Json = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": PROPAGATION[cascade]}
    if grace_period is not None:
        options["gracePeriodSeconds"] = grace_period
    code = OK
    waiting: list[tuple[ObjectKey, str]] = []
    for key in _chosen(target, what, sources, selector, everything=everything):
        kind, namespace, name = key
        try:
            uid = target.client.get(kind, namespace=namespace, name=name)["metadata"]["uid"]
            target.client.call("DELETE", kind.path(namespace, name), body=options)
        except StatusError as error:
            if error.status != 404 or not ignore_not_found:
                sys.stderr.write(f"mooring: {error}\n")
                code = FAILED
            continue
        group = f".{kind.group}" if kind.group else ""
        sys.stdout.write(f'{kind.singular}{group} "{name}" deleted\n')
        sys.stdout.flush()
        waiting.append((key, uid))
    for (kind, namespace, name), uid in waiting if wait else []:
        until(lambda k=kind, s=namespace, n=name, u=uid: _why_present(target, k, s, n, u), seconds=timeout)  # type: ignore[misc]
    return code


def _chosen(
    target: Target, what: tuple[str, ...], sources: tuple[str, ...], selector: str, *, everything: bool
) -> list[ObjectKey]:
    if sources:
        found = [(kind, obj["metadata"]) for kind, obj in read_all(sources)]
        return [
            (kind, (each.get("namespace") or target.namespace) if kind.namespaced else "", each["name"])
            for kind, each in reversed(found)
        ]
    named = split_names(what)
    if all(name for _, name in named):
        return [(kind, target.within(kind), name) for kind, name in named]
    if not selector and not everything:
        raise CommandError("name the objects to delete, or use -l SELECTOR or --all", code=USAGE)
    return [
        (kind, target.within(kind), item["metadata"]["name"])
        for kind, _ in named
        for item in target.client.get(kind, namespace=target.within(kind), query={"labelSelector": selector})["items"]
    ]


def _why_present(target: Target, kind: Kind, namespace: str, name: str, uid: str) -> str:
    """Return why the object still exists; "" when it is deleted, or an object with another UID has its name."""
    try:
        obj = target.client.get(kind, namespace=namespace, name=name)
    except StatusError as error:
        if error.status == 404:
            return ""
        raise
    if obj["metadata"]["uid"] != uid:
        return ""
    finalizers = ", ".join(obj["metadata"].get("finalizers") or [])
    return f"{kind.singular} {name} exists{f' (finalizers: {finalizers})' if finalizers else ''}"
