"""`mooring version`: ours, and the server's when one answers."""

import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from provisioner.cli.exits import CommandFailed
from provisioner.cli.options import server_options, target_of


@click.command("version")
@server_options
@click.option("--client", "client_only", is_flag=True, help="Do not ask a server.")
@click.option("-o", "--output", type=click.Choice(["json"]), help="As data.")
def command(
    *, kubeconfig: Path | None, context: str, state: Path | None, client_only: bool, output: str | None
) -> None:
    """Print versions."""
    try:
        ours = version("mooring-csi")
    except PackageNotFoundError:
        ours = "unknown"
    server = None
    if not client_only:
        try:
            target = target_of(kubeconfig=kubeconfig, context=context, state=state, namespace=None)
            answer = target.client.call("GET", "/version")
            server = answer.get("gitVersion")
        except CommandFailed:
            server = None
    if output == "json":
        sys.stdout.write(json.dumps({"mooring": ours, "server": server}) + "\n")
        return
    sys.stdout.write(f"mooring {ours}\n")
    if not client_only:
        sys.stdout.write(f"server {server or 'none answers'}\n")
