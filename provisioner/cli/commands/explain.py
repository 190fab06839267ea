"""`mooring explain`: the state of a claim, volume or pod, the reasons for it, and what to do next."""

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from typing import TypeVar

import click
import yaml

from provisioner import limits
from provisioner.binding.explain import Explanation, explain_claim, explain_volume
from provisioner.binding.explain_pod import explain_pod
from provisioner.binding.facts import Facts
from provisioner.binding.matching.index import Index
from provisioner.binding.snapshot import Snapshot
from provisioner.cli.client import StatusError
from provisioner.cli.disk_side import cluster_uid, explain_stored, former_manifests, missing_claim, with_stored_volumes
from provisioner.cli.exits import BAD_INPUT, FAILED, OK, CommandError
from provisioner.cli.options import Target, with_target
from provisioner.model.attributes_class import AttributesClass
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObjectError
from provisioner.model.kinds import (
    ATTRIBUTES_CLASS,
    CLAIM,
    EVENT,
    NAMESPACE,
    NODE,
    POD,
    STATEFUL_SET,
    STORAGE_CLASS,
    VOLUME,
    Json,
    Kind,
)
from provisioner.model.node import Node
from provisioner.model.pod import Pod, claims_of
from provisioner.model.stateful_set import StatefulSet
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume

KINDS = {"claim": CLAIM, "pvc": CLAIM, "volume": VOLUME, "pv": VOLUME, "pod": POD}
MOST_REJECTED = limits.REJECTED_SHOWN
MOUNTING = frozenset({"FailedMount", "FailedUnMount", "FailedAttachVolume", "FailedMapVolume", "SuccessfulMountVolume"})
"""Reasons of kubelet's and the engine's Events about the mounts of a pod's volumes."""
View = TypeVar("View")


@click.command("explain")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("name")
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="Print data in this format.")
@with_target
def command(*, kind: str, name: str, output: str | None, target: Target) -> int:
    """
    Show the state of a claim, volume or pod, and why.

    The exit code is 0 when the object is healthy, and 1 otherwise.
    """
    try:
        found, events = _explained(target, KINDS[kind], name)
    except InvalidObjectError as error:
        raise CommandError(str(error), code=BAD_INPUT) from None
    if output:
        data = _data(found, events)
        sys.stdout.write(
            json.dumps(data, indent=4) + "\n" if output == "json" else yaml.safe_dump(data, sort_keys=False)
        )
    else:
        _print(found, events)
    return OK if found.healthy else FAILED


def explained(target: Target, kind: Kind, name: str) -> Explanation:
    """Return the explanation of a claim, volume or pod. Raises InvalidObjectError and StatusError."""
    return _explained(target, kind, name)[0]


def _explained(target: Target, kind: Kind, name: str) -> tuple[Explanation, list[Json]]:
    try:
        obj = target.client.get(kind, namespace=target.within(kind), name=name)
    except StatusError as error:
        return _explain_missing(target, kind, name, error), []
    events = _events(target, kind, obj)
    return {CLAIM: _claim, VOLUME: _volume, POD: _pod}[kind](target, obj, events), events


def _explain_missing(target: Target, kind: Kind, name: str, error: StatusError) -> Explanation:
    """Explain an object that the server does not have. Raise `error`, with a claim's volumes on the disks added."""
    if kind is VOLUME:
        return explain_stored(target, name, error)
    raise missing_claim(target, name, error) if kind is CLAIM else error


def _claim(target: Target, obj: Json, events: list[Json]) -> Explanation:
    namespace = target.client.get(NAMESPACE, name=target.namespace)
    found = explain_claim(_facts(target, obj, namespace), last_event=_last_warning(events))
    return with_stored_volumes(_in_namespace(found, namespace), target, obj["metadata"]["name"])


def _in_namespace(found: Explanation, namespace: Json) -> Explanation:
    """Report an object as unhealthy when its namespace is being deleted."""
    if "deletionTimestamp" not in namespace["metadata"]:
        return found
    message = f"its namespace {namespace['metadata']['name']} is being deleted; {found.message}"
    return dataclasses.replace(found, message=message, healthy=False)


def _last_warning(events: list[Json], reasons: frozenset[str] = frozenset()) -> str:
    """
    Return the message of the newest Event if that is a warning, else "".

    Only Events with these reasons count; without `reasons`, those that Mooring recorded.
    """
    by_mooring = [each for each in events if str(_component(each)).startswith("mooring")]
    counted = [each for each in events if each.get("reason") in reasons] if reasons else by_mooring
    return str(counted[-1].get("message")) if counted and counted[-1].get("type") == "Warning" else ""


def _component(event: Json) -> str:
    return str(event.get("reportingComponent") or (event.get("source") or {}).get("component") or "")


def _facts(target: Target, obj: Json, namespace: Json) -> Facts:
    """Return the facts that the controller decides on; with the drivers' manifests only if a driver can be reached."""
    claim = Claim.of(obj)
    claims = {each.name: each for each in _all(target, CLAIM, Claim.of)}
    classes = {each.name: each for each in _all(target, STORAGE_CLASS, StorageClass.of)}
    uses_attributes = any(each.attributes_class for each in claims.values())
    attributes = {
        each.name: each for each in (_all(target, ATTRIBUTES_CLASS, AttributesClass.of) if uses_attributes else ())
    }
    observed = Snapshot(
        volumes=Index(_all(target, VOLUME, Volume.of)),
        nodes=tuple(_all(target, NODE, Node.of)),
        namespace_uid=namespace["metadata"]["uid"],
        cluster_uid=cluster_uid(target),
        stateful_sets=tuple(_all(target, STATEFUL_SET, StatefulSet.of)),
        pods=tuple(_all(target, POD, Pod.of)),
        claim=claims.get,
        storage_class=classes.get,
        attributes_class=attributes.get,
    )
    return observed.facts(claim, manifests=former_manifests(target, claim.namespace))


def _all(target: Target, kind: Kind, view: Callable[[Json], View]) -> list[View]:
    """Return all objects of a kind as views; invalid ones are reported on stderr and omitted."""
    found = []
    for each in target.client.get(kind, namespace=target.within(kind)).get("items") or []:
        try:
            found.append(view(each))
        except InvalidObjectError as error:
            sys.stderr.write(f"mooring: omitted: {error}\n")
    return found


def _volume(target: Target, obj: Json, events: list[Json]) -> Explanation:
    del events  # the object has all the facts
    volume = Volume.of(obj)
    claim = None
    if volume.claim_ref is not None:
        try:
            ref = volume.claim_ref
            claim = Claim.of(target.client.get(CLAIM, namespace=ref.namespace, name=ref.name))
        except StatusError as error:
            if error.status != 404:
                raise
    return explain_volume(volume, claim=claim)


def _pod(target: Target, obj: Json, events: list[Json]) -> Explanation:
    pod = Pod.of(obj)
    claims, missing = [], []
    for claim in dict.fromkeys(pod.claims.values()):
        try:
            found_claim = target.client.get(CLAIM, namespace=target.namespace, name=claim)
            claims.append(_claim(target, found_claim, _events(target, CLAIM, found_claim)))
        except StatusError as error:
            if error.status != 404:
                raise
            missing.append(claim)
    found = explain_pod(
        pod,
        claims=claims,
        missing=missing,
        refusal=_refusal(target, obj),
        failure=_last_warning(events, MOUNTING),
        nodes=_all(target, NODE, Node.of),
        in_cluster=not target.client.server.engine,
    )
    return _in_namespace(found, target.client.get(NAMESPACE, name=target.namespace))


def _refusal(target: Target, pod: Json) -> str:
    """Return why the pod may not use the claim of one of its ephemeral volumes; "" when it may use all."""
    for mount in (each for each in claims_of(pod) if each.ephemeral):
        claim = None
        try:
            claim = target.client.get(CLAIM, namespace=target.namespace, name=mount.claim)
        except StatusError as error:
            if error.status != 404:
                raise
        if refusal := mount.refusal(pod, claim):
            return refusal
    return ""


def _events(target: Target, kind: Kind, obj: Json) -> list[Json]:
    """Return the Events of the object with this UID, oldest first; not those of an earlier object of its name."""
    metadata = obj["metadata"]
    involved = {"kind": kind.name, "name": metadata["name"], "uid": metadata["uid"]}
    selector = ",".join(f"involvedObject.{key}={value}" for key, value in involved.items())
    namespace = target.namespace if kind.namespaced else "default"
    items = target.client.get(EVENT, namespace=namespace, query={"fieldSelector": selector}).get("items") or []
    return sorted(items, key=lambda each: str(each.get("lastTimestamp") or each.get("eventTime") or ""))


def _data(found: Explanation, events: list[Json]) -> Json:
    def reasons(some: tuple[object, ...]) -> list[Json]:
        return [
            {
                "code": each.code,  # type: ignore[attr-defined]
                "volume": each.volume,  # type: ignore[attr-defined]
                "requested": each.requested,  # type: ignore[attr-defined]
                "actual": each.actual,  # type: ignore[attr-defined]
                "message": each.message,  # type: ignore[attr-defined]
            }
            for each in some
        ]

    return {
        "subject": found.subject,
        "state": found.state,
        "healthy": found.healthy,
        "message": found.message,
        "reasons": reasons(found.reasons),
        "rejected": reasons(found.rejected),
        "events": [{key: each.get(key) for key in ("type", "reason", "message", "count")} for each in events],
    }


def _print(found: Explanation, events: list[Json]) -> None:
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    state = click.style(found.state, fg="green" if found.healthy else "yellow", bold=True) if colour else found.state
    sys.stdout.write(f"{found.subject}: {state}\n  {found.message}\n")
    if found.rejected:
        sys.stdout.write("\nVolumes that do not fit, nearest first:\n")
        for reason in found.rejected[:MOST_REJECTED]:
            sys.stdout.write(f"  {reason.message.removeprefix('volume ')}\n")
        if len(found.rejected) > MOST_REJECTED:
            sys.stdout.write(f"  … and {len(found.rejected) - MOST_REJECTED} more (-o json has them all)\n")
    if events:
        sys.stdout.write("\nEvents:\n")
        for event in events[-MOST_REJECTED:]:
            count = f" (x{event['count']})" if (event.get("count") or 1) > 1 else ""
            sys.stdout.write(f"  {event.get('type')} {event.get('reason')}: {event.get('message')}{count}\n")
