"""For commands that need the drivers, too: in the controller's pod those of the cluster, else the engine's."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from provisioner.admin.on_disk import Disks, observe
from provisioner.cli.exits import BAD_ENVIRONMENT, FAILED, UNREACHABLE, CommandFailed
from provisioner.cli.options import is_plugin
from provisioner.cluster.session import visit as visit_cluster
from provisioner.drivers.client import DriverUnavailable, RpcError
from provisioner.drivers.registry import DriverRegistry
from provisioner.embedded.session import visit as visit_engine
from provisioner.embedded.settings import BadEnvironment, StatePaths, default_state
from provisioner.kube.errors import ApiError, BadKubeconfig, Unavailable
from provisioner.kube.transport import KubeTransport
from provisioner.logs import configure

IN_A_POD = "KUBERNETES_SERVICE_HOST"
IN_CONTROLLER = "kubectl -n mooring-system exec deployment/mooring-controller -- mooring ..."


@contextlib.asynccontextmanager
async def reach(state: Path | None) -> AsyncIterator[tuple[KubeTransport, DriverRegistry]]:
    """The API server and the drivers. Raises CommandFailed for whatever cannot be reached, or breaks off."""
    configure("text")
    if is_plugin() and state is None:
        message = f"this needs the drivers, which only the controller's pod reaches: {IN_CONTROLLER}; or say --state"
        raise CommandFailed(message, code=BAD_ENVIRONMENT)
    paths = StatePaths(state or default_state(os.environ, uid=os.geteuid()))
    cluster = state is None and _is_controller_pod(os.environ, paths)
    if cluster:
        sys.stderr.write("mooring: this works on the cluster that this pod belongs to\n")
    try:
        async with visit_cluster() if cluster else visit_engine(paths) as reached:
            yield reached
    except BadEnvironment as error:
        raise CommandFailed(
            f"{error}. In a cluster, run this in the controller's pod: {IN_CONTROLLER}",
            code=BAD_ENVIRONMENT,
        ) from None
    except BadKubeconfig as error:
        raise CommandFailed(str(error), code=BAD_ENVIRONMENT) from None
    except (Unavailable, DriverUnavailable) as error:
        raise CommandFailed(error.message, code=UNREACHABLE) from None
    except (ApiError, RpcError) as error:
        raise CommandFailed(error.message, code=FAILED) from None


def observe_disks(state: Path | None) -> Disks:
    """Return what is on all disks that can be reached, beside what the API server has. Raises CommandFailed."""

    async def ask() -> Disks:
        async with reach(state) as (transport, drivers):
            return await observe(transport, drivers)

    return asyncio.run(ask())


def _is_controller_pod(environ: Mapping[str, str], paths: StatePaths) -> bool:
    """Whether the cluster is meant: in a pod where no engine was named or ever ran (a pod of a build may have one)."""
    return IN_A_POD in environ and "MOORING_STATE" not in environ and not paths.kubeconfig.exists()
