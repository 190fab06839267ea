"""Connect a command to a running engine: its API server and its driver."""

import contextlib
import os
from collections.abc import AsyncIterator

from provisioner.drivers.client import DriverClient
from provisioner.drivers.registry import DriverRegistry
from provisioner.embedded.settings import BadEnvironmentError, StatePaths, disable_proxies
from provisioner.kube.transport import KubeTransport
from provisioner.model.kinds import NODE

DEFAULT_NODE = "local"


@contextlib.asynccontextmanager
async def open_session(paths: StatePaths) -> AsyncIterator[tuple[KubeTransport, DriverRegistry]]:
    """
    Connect to the API server and the driver, and close the connections at the end.

    Raises BadEnvironmentError, KubeconfigError and ApiError.
    """
    if not paths.socket.exists():
        raise BadEnvironmentError(
            f"no engine runs on {paths.state}; start it with `mooring up`, or name another with --state"
        )
    disable_proxies(os.environ)
    async with contextlib.AsyncExitStack() as open_:
        transport = await KubeTransport.from_kubeconfig(paths.kubeconfig)
        open_.push_async_callback(transport.close)
        found = (await transport.list(NODE)).items
        node = found[0]["metadata"]["name"] if found else DEFAULT_NODE
        registry = DriverRegistry({node: DriverClient(paths.endpoint)})
        open_.push_async_callback(registry.close)
        yield transport, registry
