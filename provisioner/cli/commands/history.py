"""`mooring history`: which volumes an ordinal, or a claim, had, and when."""

import json
import sys
from dataclasses import dataclass

import click
import yaml

from provisioner.cli.exits import CommandFailed
from provisioner.cli.options import Target, with_target
from provisioner.cli.table import lines
from provisioner.model import history
from provisioner.model.history import Held
from provisioner.model.kinds import VOLUME, Json
from provisioner.model.names import DRIVER, HISTORY

HEADER = ("CLAIM", "VOLUME", "FROM", "UNTIL", "CLAIM UID")


@dataclass(frozen=True, slots=True)
class Line:
    """One claim that had one volume; `until` "" while it has it, or when nobody came after it."""

    held: Held
    volume: str
    until: str

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
    found = sorted(
        (line for volume in volumes for line in _of(volume, name=name, namespace=target.namespace)),
        key=lambda line: (line.held.claim, line.held.since, line.volume),
    )
    if not found:
        raise CommandFailed(
            f"no volume that exists was ever {target.namespace}/{name}'s; name a pod of a StatefulSet, or a claim"
        )
    if output:
        data = [line.data() for line in found]
        sys.stdout.write(
            json.dumps(data, indent=4) + "\n" if output == "json" else yaml.safe_dump(data, sort_keys=False)
        )
        return
    rows = [(each.held.claim, each.volume, each.held.since, each.until, each.held.claim_uid) for each in found]
    sys.stdout.write("\n".join(lines([HEADER, *rows])) + "\n")


def _of(volume: Json, *, name: str, namespace: str) -> list[Line]:
    """The volume's time with that ordinal or claim."""
    if (volume["spec"].get("csi") or {}).get("driver") != DRIVER:
        return []
    held = history.read((volume["metadata"].get("annotations") or {}).get(HISTORY, ""))
    ends = [each.since for each in held[1:]] + [""]
    return [
        Line(each, volume["metadata"]["name"], until)
        for each, until in zip(held, ends, strict=True)
        if each.namespace == namespace and name in {each.pod, each.claim}
    ]
