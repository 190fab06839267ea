"""The output of commands: data as JSON or YAML, and the result for each volume that a command changes."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click
import yaml

from provisioner.binding.decision import Reason
from provisioner.cli.exits import FAILED, OK, USAGE, CommandError
from provisioner.model.inventory import Manifest

data_option = click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="Print data in this format.")
table_option = click.option(
    "-o", "--output", type=click.Choice(["wide", "json", "yaml"]), help="More columns, or data."
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Only print what would be done.")
yes_option = click.option("--yes", is_flag=True, help="Confirm the change.")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one volume. `result` is stable for scripts; `reason` is a refusal's code, "failed", or ""."""

    volume: str
    handle: str
    result: str
    message: str
    reason: str = ""

    @classmethod
    def refused(cls, manifest: Manifest, reason: Reason) -> "Outcome":
        """Return the outcome of a volume that was refused and is unchanged."""
        return cls(manifest.csi_name, manifest.handle, "refused", reason.message, reason.code)

    @classmethod
    def failed(cls, manifest: Manifest, message: str) -> "Outcome":
        """Return the outcome of a volume whose change was tried and failed."""
        return cls(manifest.csi_name, manifest.handle, "failed", f"volume {manifest.csi_name}: {message}", "failed")


def write_data(data: Any, output: str) -> None:
    """Print data as JSON or YAML."""
    sys.stdout.write(json.dumps(data, indent=4) + "\n" if output == "json" else yaml.safe_dump(data, sort_keys=False))


def report(outcomes: Sequence[Outcome], output: str | None) -> int:
    """Print the outcomes: data or messages to stdout, refusals and failures to stderr. Return the exit code."""
    if output:
        write_data([asdict(each) for each in outcomes], output)
    for each in outcomes:
        if each.reason:
            sys.stderr.write(f"mooring: {each.message}\n")
        elif not output:
            sys.stdout.write(f"{each.message}\n")
    return FAILED if any(each.reason for each in outcomes) else OK


def require_yes(*, yes: bool, dry_run: bool, what: str) -> None:
    """Raise CommandError unless exactly one of --yes and --dry-run is given; `what` is the message of the change."""
    if not yes and not dry_run:
        raise CommandError(f"{what}; add --yes to do it, or --dry-run to see what would be done", code=USAGE)
    if yes and dry_run:
        raise CommandError("--yes and --dry-run contradict each other; give one of them", code=USAGE)


def one_of(name: str, found: Sequence[Manifest], *, where: str) -> Manifest:
    """Return the volume of this name or handle. Raises CommandError, with `where`, for none, and for several."""
    matching = {each.handle: each for each in found if name in {each.csi_name, each.handle}}
    if not matching:
        raise CommandError(f"{where} has volume {name}")
    if len(matching) > 1:
        raise CommandError(f"several volumes have the name {name}; use a handle: {', '.join(sorted(matching))}")
    return next(iter(matching.values()))
