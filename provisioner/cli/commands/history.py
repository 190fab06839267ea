"""`mooring history`: which volumes an ordinal, or a claim, had, and when."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import click
import yaml

from provisioner.cli.disk_side import Stored, not_asked, where, without_object
from provisioner.cli.exits import CommandFailed
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
    One claim that had one volume; `until` "" while it has it, or when nobody came after it.

    `state` is orphan for a volume without a PersistentVolume, trash for a deleted one, else "".
    """

    held: Owner
    volume: str
    until: str
    state: str = ""

    def data(self) -> Json:
        """For programs."""
        return {
            "namespace": self.held.namespace,
            "claim": self.held.claim,
            "claimUID": self.held.claim_uid,
            "statefulSet": self.held.stateful_set,
            "ordinal": self.held.ordinal,
            "volume": self.volume,
            "from": self.held.since,
            "until": self.until,
            "state": self.state,
        }


@click.command("history")
@click.argument("name", metavar="POD|CLAIM")
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="As data.")
@with_target
def command(*, name: str, output: str | None, target: Target) -> None:
    """
    Show which volumes an ordinal had, and when.

    POD is the ordinal's, such as web-0; the name of a claim will do, too. UNTIL is when the next claim got the volume.
    """
    volumes = target.client.get(VOLUME).get("items") or []
    stored = without_object(target, volumes)
    told = [_of(volume, name=name, namespace=target.namespace) for volume in volumes]
    told += [_of_stored(each, name=name, namespace=target.namespace) for each in stored or ()]
    found = sorted(
        (line for some in told for line in some), key=lambda line: (line.held.claim, line.held.since, line.volume)
    )
    if not found:
        message = f"no volume that exists was ever {target.namespace}/{name}'s; name a pod of a StatefulSet, or a claim"
        raise CommandFailed(message if stored is not None else f"{message} ({not_asked(target)})")
    if output:
        data = [line.data() for line in found]
        sys.stdout.write(
            json.dumps(data, indent=4) + "\n" if output == "json" else yaml.safe_dump(data, sort_keys=False)
        )
        return
    rows = [(each.held.claim, each.volume, each.held.since, each.until, each.held.claim_uid) for each in found]
    sys.stdout.write("\n".join(lines([HEADER, *rows])) + "\n")
    shown = {each.volume for each in found if each.state}
    for each in stored or ():
        if each.manifest.csi_name in shown:
            sys.stderr.write(f"mooring: {where(each)}\n")


def _of(volume: Json, *, name: str, namespace: str) -> list[Line]:
    """The volume's time with that ordinal or claim."""
    if (volume["spec"].get("csi") or {}).get("driver") != DRIVER:
        return []
    held = history.read((volume["metadata"].get("annotations") or {}).get(HISTORY, ""))
    return _lines(held, volume["metadata"]["name"], name=name, namespace=namespace)


def _of_stored(stored: Stored, *, name: str, namespace: str) -> list[Line]:
    """Return the same for a volume that only its pool knows."""
    from provisioner.actions.adopt import owners_of  # noqa: PLC0415 # only where a driver was asked

    state = "trash" if stored.in_trash else "orphan"
    held = [
        replace(
            each, since=each.since.partition(".")[0].removesuffix("Z") + "Z"
        )  # to the second, as annotations say it
        for each in owners_of(stored.manifest)
    ]
    return _lines(held, stored.manifest.csi_name, name=name, namespace=namespace, state=state)


def _lines(held: Sequence[Owner], volume: str, *, name: str, namespace: str, state: str = "") -> list[Line]:
    ends = [each.since for each in held[1:]] + [""]
    return [
        Line(each, volume, until, state)
        for each, until in zip(held, ends, strict=True)
        if each.namespace == namespace and name in {each.pod, each.claim}
    ]
