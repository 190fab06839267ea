"""`mooring version`: print the version of this program, and of the server if it answers."""

import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from provisioner.cli.exits import CommandError
from provisioner.cli.options import server_options, target_of


@click.command("version")
@server_options
@click.option("--client", "client_only", is_flag=True, help="Print only the version of this program.")
@click.option("-o", "--output", type=click.Choice(["json"]), help="Print data in this format.")
def command(
    *, kubeconfig: Path | None, context: str, state: Path | None, client_only: bool, output: str | None
) -> None:
    """Print versions."""
    try:
        client_version = version("mooring-csi")
    except PackageNotFoundError:
        client_version = "unknown"
    server = None
    if not client_only:
        try:
            target = target_of(kubeconfig=kubeconfig, context=context, state=state, namespace=None)
            response = target.client.call("GET", "/version")
            server = response.get("gitVersion")
        except CommandError:
            server = None
    if output == "json":
        sys.stdout.write(json.dumps({"mooring": client_version, "server": server}) + "\n")
        return
    sys.stdout.write(f"mooring {client_version}\n")
    if not client_only:
        sys.stdout.write(f"server {server or 'does not answer'}\n")
