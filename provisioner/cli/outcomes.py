"""What a command reports: data for programs, and what became of each volume that it was asked to change."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click
import yaml

from provisioner.binding.decision import Reason
from provisioner.cli.exits import FAILED, OK, USAGE, CommandFailed
from provisioner.model.inventory import Manifest

data_option = click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="As data.")
table_option = click.option(
    "-o", "--output", type=click.Choice(["wide", "json", "yaml"]), help="More columns, or data."
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")
yes_option = click.option("--yes", is_flag=True, help="Do it; without this, nothing is changed.")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One volume. `result` is a word that scripts can rely on, `reason` the code of what was against it, or ""."""

    volume: str
    handle: str
    result: str
    message: str
    reason: str = ""

    @classmethod
    def refused(cls, manifest: Manifest, reason: Reason) -> "Outcome":
        """Nothing is done to it."""
        return cls(manifest.csi_name, manifest.handle, "refused", reason.message, reason.code)

    @classmethod
    def failed(cls, manifest: Manifest, message: str) -> "Outcome":
        """It was tried."""
        return cls(manifest.csi_name, manifest.handle, "failed", f"volume {manifest.csi_name}: {message}", "failed")


def write_data(data: Any, output: str) -> None:
    """Print data as JSON or YAML."""
    sys.stdout.write(json.dumps(data, indent=4) + "\n" if output == "json" else yaml.safe_dump(data, sort_keys=False))


def report(outcomes: Sequence[Outcome], output: str | None) -> int:
    """Print what became of the volumes: data to stdout, and for people what was done there, and refusals to stderr."""
    if output:
        write_data([asdict(each) for each in outcomes], output)
    for each in outcomes:
        if each.reason:
            sys.stderr.write(f"mooring: {each.message}\n")
        elif not output:
            sys.stdout.write(f"{each.message}\n")
    return FAILED if any(each.reason for each in outcomes) else OK


def require_yes(*, yes: bool, dry_run: bool, what: str) -> None:
    """Raise CommandFailed unless it was said that something is to be changed, or that nothing is."""
    if not yes and not dry_run:
        raise CommandFailed(f"{what}; add --yes to do it, or --dry-run to see what would be done", code=USAGE)
    if yes and dry_run:
        raise CommandFailed("--yes and --dry-run contradict each other; give one of them", code=USAGE)


def one_of(name: str, found: Sequence[Manifest], *, where: str) -> Manifest:
    """Return the volume of this name or handle. Raises CommandFailed when there is none, or several."""
    matching = {each.handle: each for each in found if name in {each.csi_name, each.handle}}
    if not matching:
        raise CommandFailed(f"{where} has volume {name}")
    if len(matching) > 1:
        raise CommandFailed(f"several volumes are called {name}; name one by its handle: {', '.join(sorted(matching))}")
    return next(iter(matching.values()))
