"""For commands that need the drivers, too: in the controller's pod those of the cluster, else the engine's."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from provisioner.cli.exits import BAD_ENVIRONMENT, FAILED, UNREACHABLE, CommandFailed
from provisioner.cluster.visit import visit as visit_cluster
from provisioner.embedded.settings import BadEnvironment, StatePaths, default_state
from provisioner.embedded.visit import visit as visit_engine
from provisioner.fleet import Fleet
from provisioner.kube.errors import ApiError, BadKubeconfig, Unavailable
from provisioner.kube.transport import KubeTransport
from provisioner.logs import configure
from provisioner.router import DriverAway, RpcError

IN_A_POD = "KUBERNETES_SERVICE_HOST"


@contextlib.asynccontextmanager
async def reach(state: Path | None) -> AsyncIterator[tuple[KubeTransport, Fleet]]:
    """The API server and the drivers. Raises CommandFailed for whatever cannot be reached, or breaks off."""
    configure("text")
    paths = StatePaths(state or default_state(os.environ, uid=os.geteuid()))
    in_a_pod = IN_A_POD in os.environ and state is None
    try:
        async with visit_cluster() if in_a_pod else visit_engine(paths) as reached:
            yield reached
    except BadEnvironment as error:
        raise CommandFailed(
            f"{error}. In a cluster, run this in the controller's pod: "
            "kubectl -n mooring-system exec deployment/mooring-controller -- mooring ...",
            code=BAD_ENVIRONMENT,
        ) from None
    except BadKubeconfig as error:
        raise CommandFailed(str(error), code=BAD_ENVIRONMENT) from None
    except (Unavailable, DriverAway) as error:
        raise CommandFailed(error.message, code=UNREACHABLE) from None
    except (ApiError, RpcError) as error:
        raise CommandFailed(error.message, code=FAILED) from None
