"""`mooring pool`: create pools, by running the driver's `pool-init`."""

import os
import sys
from pathlib import Path

import click


@click.group("pool")
def command() -> None:
    """Create pools."""


@command.command("init")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The pool's name, which StorageClasses use.")
@click.option("--capacity", help="Bytes that volumes may reserve in all, such as 100Gi.  [default: the disk's size]")
@click.option("--create", is_flag=True, help="Create the directory, on the filesystem of its parent.")
def init(*, path: Path, name: str, capacity: str | None, create: bool) -> None:
    """Create a pool in an empty directory, preferably the root of a separate disk."""
    more = [*(["--capacity", capacity] if capacity else []), "--create" if create else "--no-create"]
    argv = [sys.executable, "-m", "csi", "pool-init", str(path), "--name", name, *more]
    sys.stdout.flush()
    os.execv(sys.executable, argv)  # noqa: S606 # no shell is needed
