"""`mooring controller`: Mooring's controller in a Kubernetes cluster."""

import socket
from pathlib import Path

import click

from provisioner.cli.options import Size
from provisioner.cluster.settings import ControllerSettings


class HostPort(click.ParamType[tuple[str, int]]):
    """The parameter type of ``HOST:PORT``; an IPv6 address is in brackets."""

    name = "host:port"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Return (host, port); an empty host becomes 0.0.0.0."""
        host, colon, port = str(value).rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) >= 1 << 16:
            self.fail(f"{value!r} is not of the form HOST:PORT", param, ctx)
        return host.strip("[]") or "0.0.0.0", int(port)  # an empty host means all addresses


@click.command("controller")
@click.option(
    "--namespace",
    default="mooring-system",
    show_default=True,
    help="Namespace of the drivers and of the controller's own objects.",
)
@click.option("--driver-service", default="mooring-driver", show_default=True, help="The drivers' headless Service.")
@click.option(
    "--identity", default=socket.gethostname, help="Holder identity in the Lease.  [default: the host's name]"
)
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Kubeconfig, to run outside a cluster.")
@click.option("--http-endpoint", type=HostPort(), help="Address of /healthz and /readyz, such as 0.0.0.0:9811.")
@click.option(
    "--node-loss-grace",
    type=click.IntRange(min=0),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="Time after a Node's deletion until `onNodeLoss: Release` applies.",
)
@click.option(
    "--template-node-capacity",
    "template_bytes",
    type=Size(),
    default=0,
    metavar="SIZE",
    help="Free capacity that new nodes of cluster-autoscaler will have, such as 100Gi.  [default: none]",
)
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text")
def command(
    *,
    namespace: str,
    driver_service: str,
    identity: str,
    kubeconfig: Path | None,
    http_endpoint: tuple[str, int] | None,
    node_loss_grace: int,
    template_bytes: int,
    log_format: str,
) -> int:
    """
    Run the controller of a Kubernetes cluster.

    It provisions, adopts, expands and deletes volumes through the drivers of all nodes. Of several replicas, the one
    that has the Lease is active; the others wait for the Lease.
    """
    from provisioner.cluster.run import run  # noqa: PLC0415 # the help needs no controller
    from provisioner.logs import configure  # noqa: PLC0415 # as above

    configure(log_format)
    host, port = http_endpoint or ("", 0)
    return run(
        ControllerSettings(
            namespace=namespace,
            driver_service=driver_service,
            identity=identity,
            kubeconfig=kubeconfig,
            http_host=host,
            http_port=port,
            node_loss_grace=node_loss_grace,
            template_bytes=template_bytes,
            log_format=log_format,
        )
    )
