"""`mooring driver`: replace this process by the CSI driver, with the same arguments."""

import os
import sys

import click


@click.command("driver", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(*, arguments: tuple[str, ...]) -> None:
    """Run the CSI driver alone; `mooring driver --help` lists its flags."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "csi", *arguments])  # noqa: S606 # no shell is needed
