"""Sessions with the API server and the drivers: of the cluster in the controller's pod, else of the engine."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from provisioner.admin.on_disk import Disks, observe
from provisioner.cli.exits import BAD_ENVIRONMENT, FAILED, UNREACHABLE, CommandError
from provisioner.cli.options import is_plugin
from provisioner.cluster.session import open_session as cluster_session
from provisioner.drivers.client import DriverUnavailable, RpcError
from provisioner.drivers.registry import DriverRegistry
from provisioner.embedded.session import open_session as engine_session
from provisioner.embedded.settings import BadEnvironmentError, StatePaths, default_state
from provisioner.kube.errors import ApiError, KubeconfigError, Unavailable
from provisioner.kube.transport import KubeTransport
from provisioner.logs import configure

IN_A_POD = "KUBERNETES_SERVICE_HOST"
IN_CONTROLLER = "kubectl -n mooring-system exec deployment/mooring-controller -- mooring ..."


@contextlib.asynccontextmanager
async def reach(state: Path | None) -> AsyncIterator[tuple[KubeTransport, DriverRegistry]]:
    """Open a session with the API server and the drivers. Raises CommandError when one is unreachable or fails."""
    configure("text")
    if is_plugin() and state is None:
        message = f"the drivers can be reached only from the controller's pod: {IN_CONTROLLER}; or use --state"
        raise CommandError(message, code=BAD_ENVIRONMENT)
    paths = StatePaths(state or default_state(os.environ, uid=os.geteuid()))
    cluster = state is None and _is_controller_pod(os.environ, paths)
    if cluster:
        sys.stderr.write("mooring: using the cluster of this pod\n")
    try:
        async with cluster_session() if cluster else engine_session(paths) as reached:
            yield reached
    except BadEnvironmentError as error:
        raise CommandError(
            f"{error}. In a cluster, run this in the controller's pod: {IN_CONTROLLER}",
            code=BAD_ENVIRONMENT,
        ) from None
    except KubeconfigError as error:
        raise CommandError(str(error), code=BAD_ENVIRONMENT) from None
    except (Unavailable, DriverUnavailable) as error:
        raise CommandError(error.message, code=UNREACHABLE) from None
    except (ApiError, RpcError) as error:
        raise CommandError(error.message, code=FAILED) from None


def observe_disks(state: Path | None) -> Disks:
    """Return the volumes of all reachable disks, with the API server's objects. Raises CommandError."""

    async def observe_all() -> Disks:
        async with reach(state) as (transport, drivers):
            return await observe(transport, drivers)

    return asyncio.run(observe_all())


def _is_controller_pod(environ: Mapping[str, str], paths: StatePaths) -> bool:
    """Report whether this is a pod in which no engine is selected or ever ran; a build's pod may run an engine."""
    return IN_A_POD in environ and "MOORING_STATE" not in environ and not paths.kubeconfig.exists()
