"""A thin API client on the standard library: large client libraries would delay the start of every command."""

import http.client
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlencode, urlsplit

from provisioner.cli.exits import FAILED, UNREACHABLE, CommandError
from provisioner.cli.kubeconfig import Server
from provisioner.model.kinds import Json, Kind

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
TIMEOUT_SECONDS = 30.0
WATCH_SECONDS = 3600.0


class StatusError(CommandError):
    """An answer with an HTTP status of 400 or more; the message is the server's."""

    def __init__(self, status: int, message: str, *, reason: str = "") -> None:
        super().__init__(message, code=FAILED)
        self.status = status
        self.reason = reason


class Client:
    """The client of one API server. Each call opens one connection, since commands are short."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._announced = server.engine

    def get(
        self,
        kind: Kind,
        *,
        namespace: str = "",
        name: str = "",
        query: Mapping[str, str] | None = None,
        accept: str = "",
    ) -> Json:
        """Return one object, or with no `name` the List of the kind. Raise as `call`."""
        return self.call("GET", kind.path(namespace, name), query=query, accept=accept)

    def watch(
        self, kind: Kind, *, namespace: str = "", query: Mapping[str, str], accept: str = ""
    ) -> Iterator[tuple[str, Json]]:
        """Yield changes as (type, object) until the server ends the stream. Raise as `call`."""
        params = {"watch": "true", **query}
        with closing(self._connect(timeout=WATCH_SECONDS)) as connection:
            response = self._send(connection, "GET", kind.path(namespace), query=params, accept=accept)
            if response.status >= 400:
                # unbounded: the answer of a server that the user named
                raise _status_error(response.status, response.read())
            for line in response:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise StatusError(
                        event["object"].get("code", 500), event["object"].get("message", "the server ended the watch")
                    )
                yield event["type"], event["object"]

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "",
    ) -> Json:
        """
        Send one request and return the decoded answer.

        Before the first request that may change a cluster, the server's address is printed to stderr. Raises
        StatusError for an error of the server, and CommandError (UNREACHABLE) when the server does not answer.
        """
        if method != "GET" and not self._announced:
            self._announced = True
            sys.stderr.write(f"mooring: changing objects on {self.server.url} ({self._origin()})\n")
            sys.stderr.flush()
        with closing(self._connect(timeout=TIMEOUT_SECONDS)) as connection:
            response = self._send(
                connection, method, path, query=query, body=body, content_type=content_type, accept=accept
            )
            try:
                # unbounded: the answer of a server that the user named
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from None
            if response.status >= 400:
                raise _status_error(response.status, content)
        decoded: Json = json.loads(content)
        return decoded

    def _connect(self, *, timeout: float) -> http.client.HTTPConnection:
        address = urlsplit(self.server.url)
        if address.scheme == "http":
            return http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout)
        return http.client.HTTPSConnection(
            address.hostname or "", address.port, timeout=timeout, context=self.server.context()
        )

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "",
    ) -> http.client.HTTPResponse:
        headers = {"Accept": accept or "application/json", "User-Agent": "mooring"}
        if self.server.token:
            headers["Authorization"] = f"Bearer {self.server.token}"
        if body is not None:
            headers["Content-Type"] = content_type
        params = {key: value for key, value in (query or {}).items() if value}
        full = urlsplit(self.server.url).path + path + (f"?{urlencode(params)}" if params else "")
        try:
            connection.request(method, full, None if body is None else json.dumps(body), headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> CommandError:
        next_step = (
            "start the engine with `mooring up`, or select a cluster with --kubeconfig or --context"
            if self.server.engine
            else "check that it runs, or select another server with --kubeconfig, --context or --state"
        )
        return CommandError(
            f"no server answers at {self.server.url} ({error}), and no other server was used; {next_step} "
            f"(the address is from {self._origin()})",
            code=UNREACHABLE,
        )

    def _origin(self) -> str:
        return f"context {self.server.context_name} of {self.server.kubeconfig}"


def _status_error(status: int, content: bytes) -> StatusError:
    try:
        status_body = json.loads(content)
        return StatusError(
            status,
            str(status_body.get("message") or f"the server answered {status}"),
            reason=status_body.get("reason", ""),
        )
    except (ValueError, AttributeError):
        return StatusError(status, f"the server answered {status}")
