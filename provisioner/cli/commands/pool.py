"""`mooring pool`: pools are the driver's business, so it makes them."""

import os
import sys
from pathlib import Path

import click


@click.group("pool")
def command() -> None:
    """Make pools."""


@command.command("init")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The pool's name, which StorageClasses use.")
@click.option("--capacity", help="What it may promise in all, such as 100Gi; without it, what the disk gives.")
@click.option("--create", is_flag=True, help="Create the directory, on the disk of the one above it.")
def init(*, path: Path, name: str, capacity: str | None, create: bool) -> None:
    """Make a pool of an empty directory, best the root of a disk of its own."""
    more = [*(["--capacity", capacity] if capacity else []), "--create" if create else "--no-create"]
    argv = [sys.executable, "-m", "csi", "pool-init", str(path), "--name", name, *more]
    sys.stdout.flush()
    os.execv(sys.executable, argv)  # noqa: S606 # no shell is wanted
