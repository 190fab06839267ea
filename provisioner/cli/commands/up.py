"""`mooring up`: run the engine in the foreground or, with --detach, in the background."""

import os
import sys
from pathlib import Path

import click

from provisioner.cli.exits import BAD_ENVIRONMENT, FAILED, MEANINGS, OK, CommandError
from provisioner.cli.waiting import until
from provisioner.embedded.settings import BadEnvironmentError, UpSettings, default_state

LONGEST_NODE_NAME = 63
"""The limit of a label's value: the node affinity of volumes refers to the Node by a label with its name."""
START_SECONDS = 120.0
"""Time that `--detach` waits for the API; a driver with many volumes takes seconds to start."""


class NodeName(click.ParamType[str]):
    """The parameter type of a Node's name, which is also the value of a label."""

    name = "name"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name unchanged, or fail with the rule for names."""
        from provisioner.embedded.apiserver.store.metadata import SUBDOMAIN  # noqa: PLC0415 # the help needs no engine

        if len(str(value)) > LONGEST_NODE_NAME or not SUBDOMAIN.fullmatch(str(value)):
            rule = (
                f"write at most {LONGEST_NODE_NAME} lower case letters, digits, '-' and '.', "
                "beginning and ending with a letter or digit"
            )
            self.fail(f"{value!r} cannot be the name of a node; {rule}", param, ctx)
        return str(value)


@click.command("up")
@click.option("--state", type=click.Path(path_type=Path), help="Directory of the engine's data [env: MOORING_STATE].")
@click.option(
    "--pool", "pools", type=click.Path(path_type=Path), multiple=True, help="An additional pool; may be repeated."
)
@click.option(
    "--node-name", type=NodeName(), default="local", show_default=True, help="The name of this machine's Node."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1.  [default: chosen at the first start]"
)
@click.option(
    "--purge-interval", type=click.FloatRange(min=0.05), default=60.0, help="Seconds between purges of the trash."
)
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text")
@click.option("--detach", is_flag=True, help="Return when the API is ready, and leave the engine running.")
def command(
    *,
    detach: bool,
    state: Path | None,
    pools: tuple[Path, ...],
    node_name: str,
    port: int,
    purge_interval: float,
    log_format: str,
) -> int:
    """
    Run the engine on this machine, without a cluster.

    It runs in the foreground, unless --detach is given; SIGINT or SIGTERM unmounts all volumes and ends it. Without
    root it runs in a separate user namespace, with directory volumes only.
    """
    where = (state or default_state(os.environ, uid=os.geteuid())).absolute()
    settings = UpSettings(
        state=str(where),
        pools=tuple(str(pool.absolute()) for pool in pools),
        node_name=node_name,
        port=port,
        purge_interval=purge_interval,
        log_format=log_format,
    )
    if detach:
        return _detached(settings)
    from provisioner.embedded.up import run  # noqa: PLC0415 # the help needs no engine

    return run(settings)


def _detached(settings: UpSettings) -> int:
    """Start the engine in the background, and wait until its API is ready. Raises CommandError."""
    from provisioner.embedded import detached  # noqa: PLC0415 # the help needs no engine

    try:
        message = detached.run(settings, lambda missing: until(missing, seconds=START_SECONDS))
    except BadEnvironmentError as error:
        raise CommandError(str(error), code=BAD_ENVIRONMENT) from None
    except detached.StartError as error:
        raise CommandError(str(error), code=error.code if error.code in MEANINGS else FAILED) from None
    sys.stderr.write(f"{message}\n")
    return OK
