"""A thin client on the standard library: big libraries load slowly, and a command must answer before one notices."""

import http.client
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlencode, urlsplit

from provisioner.cli.exits import FAILED, UNREACHABLE, CommandFailed
from provisioner.cli.kubeconfig import Server
from provisioner.model.kinds import Json, Kind

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
TIMEOUT_SECONDS = 30.0
WATCH_SECONDS = 3600.0


class Refused(CommandFailed):
    """The server's own words."""

    def __init__(self, status: int, message: str, *, reason: str = "") -> None:
        super().__init__(message, code=FAILED)
        self.status = status
        self.reason = reason


class Client:
    """One server. Every call is one connection, as commands are short."""

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
        """One object, or a collection."""
        return self.call("GET", kind.path(namespace, name), query=query, accept=accept)

    def watch(
        self, kind: Kind, *, namespace: str = "", query: Mapping[str, str], accept: str = ""
    ) -> Iterator[tuple[str, Json]]:
        """Changes as (type, object), until the server ends the stream."""
        asked = {"watch": "true", **query}
        with closing(self._connect(timeout=WATCH_SECONDS)) as connection:
            answer = self._send(connection, "GET", kind.path(namespace), query=asked, accept=accept)
            if answer.status >= 400:
                # unbounded: the answer of a server that the user named
                raise _refusal(answer.status, answer.read())
            for line in answer:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise Refused(
                        event["object"].get("code", 500), event["object"].get("message", "the watch broke off")
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
        Any request; raises Refused, and CommandFailed when nobody answers.

        Before the first one that may change something on a cluster, the server is named on stderr.
        """
        if method != "GET" and not self._announced:
            self._announced = True
            sys.stderr.write(f"mooring: changing objects on {self.server.url} ({self._origin()})\n")
            sys.stderr.flush()
        with closing(self._connect(timeout=TIMEOUT_SECONDS)) as connection:
            answer = self._send(
                connection, method, path, query=query, body=body, content_type=content_type, accept=accept
            )
            try:
                # unbounded: the answer of a server that the user named
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from None
            if answer.status >= 400:
                raise _refusal(answer.status, content)
        decoded: Json = json.loads(content)
        return decoded

    def _connect(self, *, timeout: float) -> http.client.HTTPConnection:
        where = urlsplit(self.server.url)
        if where.scheme == "http":
            return http.client.HTTPConnection(where.hostname or "", where.port, timeout=timeout)
        return http.client.HTTPSConnection(
            where.hostname or "", where.port, timeout=timeout, context=self.server.context()
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
        asked = {key: value for key, value in (query or {}).items() if value}
        full = urlsplit(self.server.url).path + path + (f"?{urlencode(asked)}" if asked else "")
        try:
            connection.request(method, full, None if body is None else json.dumps(body), headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> CommandFailed:
        way_on = (
            "start the engine with `mooring up`, or name a cluster with --kubeconfig or --context"
            if self.server.engine
            else "look whether it runs, or name another server with --kubeconfig, --context or --state"
        )
        return CommandFailed(
            f"nothing answers at {self.server.url} ({error}), and nothing was done elsewhere; {way_on} "
            f"(this one is {self._origin()})",
            code=UNREACHABLE,
        )

    def _origin(self) -> str:
        return f"context {self.server.context_name} of {self.server.kubeconfig}"


def _refusal(status: int, content: bytes) -> Refused:
    try:
        said = json.loads(content)
        return Refused(
            status, str(said.get("message") or f"the server answered {status}"), reason=said.get("reason", "")
        )
    except (ValueError, AttributeError):
        return Refused(status, f"the server answered {status}")
