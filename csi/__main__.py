"""`python -m csi`: the driver, and the creation of pools."""

import os

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # programs are started from threads; grpc must not mind
os.umask(0o077)

import asyncio  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import click  # noqa: E402

from csi.errors import BadEnvironment  # noqa: E402
from csi.process.flags import Endpoint, HostPort, Kubelet, Network, Settings, Size, SocketDirectory  # noqa: E402

BAD_ENVIRONMENT = 78


@click.group(invoke_without_command=True, context_settings={"max_content_width": 120})
@click.option("--endpoint", "socket", type=Endpoint(), envvar="CSI_ENDPOINT", help="unix:///path/to/csi.sock")
@click.option("--node-id", help="This node's name towards the controller.")
@click.option("--pool", "pools", type=click.Path(path_type=Path), multiple=True, help="A pool's directory; repeatable.")
@click.option(
    "--pools-in",
    "pool_folders",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A directory whose directories are pools, as they come and go; repeatable.",
)
@click.option("--init-empty-pools", is_flag=True, help="Make a pool of an empty directory that never was one.")
@click.option("--purge-interval", type=click.FloatRange(min=0.05), default=60.0, help="Seconds between looks.")
@click.option("--lifeline-fd", type=click.IntRange(min=0), help="Stop when this file descriptor is closed.")
@click.option("--workers", type=click.IntRange(1, 64), default=8, help="Operations on disks at a time.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text")
@click.option(
    "--kubelet-registration-dir", type=SocketDirectory(), help="Where kubelet looks for drivers, as seen here."
)
@click.option("--kubelet-socket-path", type=Endpoint(), help="The endpoint's csi.sock, as kubelet sees it on the host.")
@click.option("--kubelet-check-interval", type=click.FloatRange(min=0.05), default=5.0, help="Seconds between looks.")
@click.option("--network-endpoint", type=HostPort(), help="Where the controller reaches this driver: HOST:PORT.")
@click.option("--controller-ca", type=click.Path(path_type=Path), help="The authorities of the controller, PEM.")
@click.option("--key-dir", type=click.Path(path_type=Path), help="Where this driver keeps its own key.")
@click.option("--test-attach-limit", type=click.IntRange(min=0), default=0, hidden=True)
@click.pass_context
def main(
    context: click.Context,
    *,
    socket: Path | None,
    node_id: str | None,
    pools: tuple[Path, ...],
    pool_folders: tuple[Path, ...],
    init_empty_pools: bool,
    purge_interval: float,
    lifeline_fd: int | None,
    workers: int,
    log_format: str,
    kubelet_registration_dir: Path | None,
    kubelet_socket_path: Path | None,
    kubelet_check_interval: float,
    network_endpoint: str | None,
    controller_ca: Path | None,
    key_dir: Path | None,
    test_attach_limit: int,
) -> None:
    """Serve the CSI driver csi.mooring.dev on a unix socket."""
    if context.invoked_subcommand is not None:
        return
    if socket is None:
        raise click.UsageError("--endpoint (or CSI_ENDPOINT) is missing")
    if not node_id or len(node_id.encode()) > 256:
        raise click.UsageError("--node-id is missing, or longer than 256 bytes")
    if not pools and not pool_folders:
        raise click.UsageError("--pool or --pools-in is missing; a driver needs a pool to create volumes in")
    kubelet = None
    if kubelet_registration_dir is not None and kubelet_socket_path is not None:
        kubelet = Kubelet(kubelet_registration_dir, kubelet_socket_path, kubelet_check_interval)
    elif kubelet_registration_dir is not None or kubelet_socket_path is not None:
        raise click.UsageError("--kubelet-registration-dir and --kubelet-socket-path go together; one is missing")
    network = None
    if network_endpoint is not None and controller_ca is not None and key_dir is not None:
        network = Network(network_endpoint, controller_ca, key_dir)
    elif network_endpoint is not None or controller_ca is not None or key_dir is not None:
        raise click.UsageError("--network-endpoint, --controller-ca and --key-dir go together; one is missing")
    from csi import logs  # noqa: PLC0415 # as below
    from csi.process import server  # noqa: PLC0415 # grpc is not needed to refuse a flag

    logs.configure(log_format)
    settings = Settings(
        socket=socket,
        node_id=node_id,
        pools=pools,
        pool_folders=pool_folders,
        init_empty_pools=init_empty_pools,
        purge_seconds=purge_interval,
        lifeline=lifeline_fd,
        workers=workers,
        log_format=log_format,
        kubelet=kubelet,
        network=network,
        test_attach_limit=test_attach_limit,
    )
    sys.setswitchinterval(0.001)  # the loop answers a Probe between the steps of busy workers
    asyncio.run(server.serve(settings))


@main.command("pool-init")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The pool's name, which StorageClasses use.")
@click.option("--capacity", type=Size(), help="Bytes that can be reserved in all; by default from the disk.")
@click.option("--create/--no-create", default=True, help="Whether a directory that is missing is created.")
def pool_init(*, path: Path, name: str, capacity: int | None, create: bool) -> None:
    """Make a pool in an empty directory."""
    from csi.volumes.pools import make_pool  # noqa: PLC0415 # as above

    pool = make_pool(path, name=name, capacity_bytes=capacity, known={}, create=create)
    click.echo(f"pool {pool.name} ({pool.uuid}) made at {pool.path}")


def run() -> int:
    """Run it; the exit code: 0, 2 for bad flags, 78 for a bad environment."""
    try:
        main(prog_name="python -m csi", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        click.echo(f"mooring driver: {error.format_message()}", err=True)
        return 2
    except BadEnvironment as error:
        click.echo(f"mooring driver: {error}", err=True)
        return BAD_ENVIRONMENT
    return 0


if __name__ == "__main__":
    sys.exit(run())
