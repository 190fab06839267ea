"""`mooring up`: the engine, in the foreground."""

import os
from pathlib import Path

import click

from provisioner.embedded.settings import UpSettings, default_state


@click.command("up")
@click.option("--state", type=click.Path(path_type=Path), help="Where everything is kept [env: MOORING_STATE].")
@click.option("--pool", "pools", type=click.Path(path_type=Path), multiple=True, help="A further pool; repeatable.")
@click.option("--node-name", default="local", show_default=True, help="The name of this machine's Node.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; chosen once by default.")
@click.option("--purge-interval", type=click.FloatRange(min=0.05), default=60.0, help="Seconds between looks at trash.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text")
def command(
    *,
    state: Path | None,
    pools: tuple[Path, ...],
    node_name: str,
    port: int,
    purge_interval: float,
    log_format: str,
) -> int:
    """
    Run the engine on this machine, without a cluster.

    It stays in the foreground; SIGINT or SIGTERM unmounts all volumes and ends it. Without root it runs in a user
    namespace of its own, with directory volumes only.
    """
    from provisioner.embedded.up import run  # noqa: PLC0415 # the help needs no engine

    where = (state or default_state(os.environ, uid=os.geteuid())).absolute()
    return run(
        UpSettings(
            state=str(where),
            pools=tuple(str(pool.absolute()) for pool in pools),
            node_name=node_name,
            port=port,
            purge_interval=purge_interval,
            log_format=log_format,
        )
    )
