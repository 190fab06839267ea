"""`mooring history`: the volumes that an ordinal or a claim was bound to, and when."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import click
import yaml

from provisioner.cli.disk_side import Stored, unavailable_reason, where, without_object
from provisioner.cli.exits import CommandError
from provisioner.cli.options import Target, with_target
from provisioner.cli.table import lines
from provisioner.model import history
from provisioner.model.history import Owner
from provisioner.model.kinds import VOLUME, Json
from provisioner.model.names import DRIVER, HISTORY

HEADER = ("CLAIM", "VOLUME", "FROM", "UNTIL", "CLAIM UID")


@dataclass(frozen=True, slots=True)
class Line:
    """
    One claim that was bound to one volume.

    `until` is when the next claim was bound to it, "" for the last one. `state` is orphan for a volume without a
    PersistentVolume, trash for a deleted one, else "".
    """

    owner: Owner
    volume: str
    until: str
    state: str = ""

    def data(self) -> Json:
        """Return the line as data for -o json and yaml."""
        return {
            "namespace": self.owner.namespace,
            "claim": self.owner.claim,
            "claimUID": self.owner.claim_uid,
            "statefulSet": self.owner.stateful_set,
            "ordinal": self.owner.ordinal,
            "volume": self.volume,
            "from": self.owner.since,
            "until": self.until,
            "state": self.state,
        }


@click.command("history")
@click.argument("name", metavar="POD|CLAIM")
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="Print data in this format.")
@with_target
def command(*, name: str, output: str | None, target: Target) -> None:
    """
    Show which volumes an ordinal was bound to, and when.

    POD is the pod of the ordinal, such as web-0; a claim's name works, too. UNTIL is when the next claim was bound to
    the volume.
    """
    volumes = target.client.get(VOLUME).get("items") or []
    stored = without_object(target, volumes)
    line_lists = [_of(volume, name=name, namespace=target.namespace) for volume in volumes]
    line_lists += [_of_stored(each, name=name, namespace=target.namespace) for each in stored or ()]
    found = sorted(
        (line for some in line_lists for line in some),
        key=lambda line: (line.owner.claim, line.owner.since, line.volume),
    )
    if not found:
        message = (
            f"no existing volume was ever bound to a claim of {target.namespace}/{name}; "
            "name a pod of a StatefulSet, or a claim"
        )
        raise CommandError(message if stored is not None else f"{message} ({unavailable_reason(target)})")
    if output:
        data = [line.data() for line in found]
        sys.stdout.write(
            json.dumps(data, indent=4) + "\n" if output == "json" else yaml.safe_dump(data, sort_keys=False)
        )
        return
    rows = [(each.owner.claim, each.volume, each.owner.since, each.until, each.owner.claim_uid) for each in found]
    sys.stdout.write("\n".join(lines([HEADER, *rows])) + "\n")
    shown = {each.volume for each in found if each.state}
    for each in stored or ():
        if each.manifest.csi_name in shown:
            sys.stderr.write(f"mooring: {where(each)}\n")


def _of(volume: Json, *, name: str, namespace: str) -> list[Line]:
    """Return the lines of a PersistentVolume for that ordinal or claim."""
    if (volume["spec"].get("csi") or {}).get("driver") != DRIVER:
        return []
    owners = history.read((volume["metadata"].get("annotations") or {}).get(HISTORY, ""))
    return _lines(owners, volume["metadata"]["name"], name=name, namespace=namespace)


def _of_stored(stored: Stored, *, name: str, namespace: str) -> list[Line]:
    """Return the lines of a volume without a PersistentVolume for that ordinal or claim."""
    from provisioner.actions.adopt import owners_of  # noqa: PLC0415 # needed only after a driver answered

    state = "trash" if stored.in_trash else "orphan"
    owners = [
        replace(each, since=each.since.partition(".")[0].removesuffix("Z") + "Z")  # to the second, as in annotations
        for each in owners_of(stored.manifest)
    ]
    return _lines(owners, stored.manifest.csi_name, name=name, namespace=namespace, state=state)


def _lines(owners: Sequence[Owner], volume: str, *, name: str, namespace: str, state: str = "") -> list[Line]:
    ends = [each.since for each in owners[1:]] + [""]
    return [
        Line(each, volume, until, state)
        for each, until in zip(owners, ends, strict=True)
        if each.namespace == namespace and name in {each.pod, each.claim}
    ]
