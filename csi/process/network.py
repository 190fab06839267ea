"""
The driver's network endpoint, for the controller only: Identity, Controller and Inventory over mutual TLS.

The Node service is not served: only kubelet mounts volumes, through the socket. A client may call with a certificate
that is signed by one of the authorities in the CA file and has the controller's role. The file is read again at each
handshake, so that an authority can be replaced without a restart. The number of connections is limited, and so is the
time that a client without a certificate can keep one open.
"""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import structlog

from csi import limits
from csi.errors import BadEnvironment
from csi.host import commands, files
from csi.host.errors import CommandError, HostError
from csi.process.flags import Network
from csi.services.controller import Controller
from csi.services.edge import server_options
from csi.services.identity import Identity
from csi.services.inventory import Inventory
from csi.v1 import csi_pb2_grpc, inventory_pb2_grpc
from csi.volumes.volume_manager import VolumeManager

log = structlog.get_logger()

ROLE = b"mooring:controller"
SUBJECT_ALTERNATIVE_NAME = "x509_subject_alternative_name"
KEY = "driver.key"
CERTIFICATE = "driver.crt"

HANDSHAKE_SECONDS = 10.0
"""Seconds for a TLS handshake; then the connection is closed. gRPC's default is two minutes."""

MOST_CONNECTIONS = 200
"""Connections at a time, also those still in the handshake; more are closed at once. Each replica needs one."""

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]


async def listen(network: Network, manager: VolumeManager, *, node_id: str) -> grpc.aio.Server:
    """Start the server for the controller; the caller stops it. Raises BadEnvironment."""
    _ensure_key(network.key_dir, node_id)
    credentials = _Credentials(network)
    options = [
        *server_options(),
        ("grpc.server_handshake_timeout_ms", round(HANDSHAKE_SECONDS * 1000)),
        ("grpc.max_allowed_incoming_connections", MOST_CONNECTIONS),
    ]
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=limits.CALLS, interceptors=[ControllerOnly()])
    csi_pb2_grpc.add_IdentityServicer_to_server(Identity(), server)
    csi_pb2_grpc.add_ControllerServicer_to_server(Controller(manager), server)  # type: ignore[abstract] # others: UNIMPLEMENTED
    inventory_pb2_grpc.add_InventoryServicer_to_server(Inventory(manager), server)
    try:
        server.add_secure_port(network.address, credentials.for_server())
        await server.start()
    except RuntimeError as error:
        raise BadEnvironment(
            f"cannot listen on {network.address}: {error}; choose another --network-endpoint"
        ) from None
    log.info("driver.listening", address=network.address)
    return server


class ControllerOnly(grpc.aio.ServerInterceptor):
    """Interceptor that refuses every certificate without the controller's role with PERMISSION_DENIED."""

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Return a handler that checks the role first; all methods of these services are unary."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        serve = handler.unary_unary

        async def checked(request: Any, context: Any) -> Any:
            if ROLE not in context.auth_context().get(SUBJECT_ALTERNATIVE_NAME, ()):
                await context.abort(
                    grpc.StatusCode.PERMISSION_DENIED, "only the controller of this cluster may call the driver here"
                )
            return await serve(request, context)

        return grpc.unary_unary_rpc_method_handler(
            checked,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


class _Credentials:
    """The server's key pair, and the authorities that it trusts, by the current CA file."""

    def __init__(self, network: Network) -> None:
        self._file = network.controller_ca
        key, certificate = network.key_dir / KEY, network.key_dir / CERTIFICATE
        try:
            pem = [files.read_through_links(each, most=limits.PEM_BYTES) for each in (key, certificate)]
            self._key_pair = (pem[0], pem[1])
            self._trusted = _authorities(self._file)
        except (OSError, ValueError) as error:
            raise BadEnvironment(f"the controller's authority cannot be read: {error}") from None
        self._reported = False

    def for_server(self) -> grpc.ServerCredentials:
        """Return credentials whose trusted authorities are updated at every handshake."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(), self._changed, require_client_authentication=True
        )

    def _configuration(self) -> Any:
        return grpc.ssl_server_certificate_configuration([self._key_pair], root_certificates=self._trusted)

    def _changed(self) -> Any:
        """Return the new configuration, or None if it is unchanged or the file cannot be read."""
        try:
            trusted = _authorities(self._file)
        except (OSError, ValueError) as error:
            if not self._reported:
                log.warning("authority.unreadable", file=str(self._file), error=str(error))
            self._reported = True
            return None
        self._reported = False
        if trusted == self._trusted:
            return None
        self._trusted = trusted
        log.info("authority.changed", file=str(self._file))
        return self._configuration()


def _authorities(path: Path) -> bytes:
    """Read the authorities' certificates. Raises OSError, and ValueError for a file without a certificate."""
    content = files.read_through_links(path, most=limits.PEM_BYTES)
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise ValueError(f"{path} has no certificate in it")
    return content


def _ensure_key(directory: Path, node_id: str) -> None:
    """Create the key in a separate process: see csi.process.keys. Raises BadEnvironment."""
    try:
        commands.run([sys.executable, "-m", "csi.process.keys", str(directory), node_id], limit=commands.Limit.QUERY)
    except CommandError as error:
        last = error.stderr.strip().rpartition("\n")[2]
        raise BadEnvironment(last or f"the driver's key cannot be created in {directory}") from None
    except HostError as error:
        raise BadEnvironment(f"the driver's key cannot be created in {directory}: {error}") from None
