"""
The interface to an API server: six verbs on raw objects.

`KubeTransport` uses the HTTP client of the `kubernetes` package (its configuration, credentials and TLS), but not its
generated models: they drop unknown fields, and one invalid object fails a whole list.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

import aiohttp
import yaml
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, new_client_from_config

from provisioner import limits
from provisioner.kube.errors import ApiError, KubeconfigError, Unavailable, error_of
from provisioner.model.kinds import Json, Kind

Patch = Json | list[Json]
"""A dict is a merge patch, a list a JSON patch."""

PAGE = 500
CONNECT_SECONDS = 3.0
REQUEST_SECONDS = 15.0
SILENCE_SECONDS = 90.0
"""A watch without any event for so long counts as broken; servers send a bookmark about every minute."""
LARGEST_LINE = limits.WATCH_LINE_BYTES


@dataclass(frozen=True, slots=True)
class Listing:
    """The objects of a list request, and the resourceVersion to watch from."""

    items: list[Json]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """ADDED, MODIFIED, DELETED or BOOKMARK, and the object (of a bookmark, only its resourceVersion)."""

    type: str
    object: Json


class Transport(Protocol):
    """
    The requests that reconcilers send to an API server.

    Every method raises ApiError or a subclass. An empty namespace means all namespaces, or a cluster-scoped kind.
    """

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Json:
        """Return one object, read from the server. Raise NotFound."""

    async def list(
        self, kind: Kind, *, namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        """Return all objects that match the selectors, from all pages."""

    def watch(self, kind: Kind, *, resource_version: str) -> AsyncIterator[WatchEvent]:
        """Yield changes after `resource_version` until the server closes the stream. Raise Gone when it is too old."""

    async def create(self, kind: Kind, obj: Json) -> Json:
        """Create an object in the namespace of its metadata; return it as created."""

    async def patch(self, kind: Kind, name: str, patch: Patch, *, namespace: str = "", subresource: str = "") -> Json:
        """
        Patch an object and return it: a dict is a merge patch, a list a JSON patch.

        A patch with a resourceVersion raises Conflict when the object has another one.
        """

    async def delete(
        self,
        kind: Kind,
        name: str,
        *,
        namespace: str = "",
        uid: str = "",
        resource_version: str = "",
        grace_seconds: int | None = None,
        propagation: str = "",
    ) -> None:
        """Delete an object. Raise Conflict when it no longer has that UID and resourceVersion."""


USER_AGENT = "mooring/1"
"""The part before the slash is the manager in `metadata.managedFields`."""


class KubeTransport:
    """A Transport over HTTP. Create it inside a running event loop, and close it."""

    def __init__(self, client: ApiClient) -> None:
        client.user_agent = USER_AGENT
        self._client = client

    @classmethod
    async def from_kubeconfig(cls, path: Path) -> "KubeTransport":
        """Connect as the kubeconfig's current context specifies. Raise KubeconfigError."""
        try:
            return cls(await new_client_from_config(config_file=str(path)))
        except (TypeError, AttributeError, LookupError) as error:  # raised by the library for a file of another form
            raise KubeconfigError(
                f"cannot use the kubeconfig {path}: it does not have the form of a kubeconfig; use another file"
            ) from error
        except (ConfigException, OSError, ValueError, yaml.YAMLError) as error:
            raise KubeconfigError(f"cannot use the kubeconfig {path}: {error}; correct it, or use another") from error

    @classmethod
    async def in_cluster(cls) -> "KubeTransport":
        """Connect as the pod's ServiceAccount; its token is read again as kubelet renews it. Raise KubeconfigError."""
        configuration = Configuration()
        try:
            load_incluster_config(client_configuration=configuration)
            client = ApiClient(configuration)  # reads the file of the certificate authority
        except (ConfigException, OSError, ValueError) as error:
            raise KubeconfigError(
                f"this process has no credentials of a pod ({error}); outside of a cluster, pass a kubeconfig"
            ) from error
        return cls(client)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Json:
        """See Transport."""
        return await self._send("GET", kind.path(namespace, name))

    async def list(
        self, kind: Kind, *, namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        """See Transport."""
        query = {"limit": str(PAGE), "labelSelector": label_selector, "fieldSelector": field_selector}
        items: list[Json] = []
        # unbounded: all objects of a kind in the API server
        while True:
            page = await self._send("GET", kind.path(namespace), query=query)
            identity = {"apiVersion": kind.api_version, "kind": kind.name}
            items += [identity | item for item in page.get("items") or []]
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return Listing(items, metadata.get("resourceVersion", ""))
            query["continue"] = metadata["continue"]

    async def watch(self, kind: Kind, *, resource_version: str) -> AsyncIterator[WatchEvent]:
        """See Transport."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(random.randint(240, 300)),  # noqa: S311 # jitter, no secret
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        response = await self._open("GET", kind.path(), query=query, timeout=timeout)
        try:
            async for line in _lines(response):
                yield _event(line)
        finally:
            response.close()

    async def create(self, kind: Kind, obj: Json) -> Json:
        """See Transport."""
        body = {"apiVersion": kind.api_version, "kind": kind.name} | obj
        return await self._send("POST", kind.path(obj["metadata"].get("namespace", "")), body=body)

    async def patch(self, kind: Kind, name: str, patch: Patch, *, namespace: str = "", subresource: str = "") -> Json:
        """See Transport."""
        form = "json-patch" if isinstance(patch, list) else "merge-patch"
        path = kind.path(namespace, name, subresource)
        return await self._send("PATCH", path, body=patch, content_type=f"application/{form}+json")

    async def delete(
        self,
        kind: Kind,
        name: str,
        *,
        namespace: str = "",
        uid: str = "",
        resource_version: str = "",
        grace_seconds: int | None = None,
        propagation: str = "",
    ) -> None:
        """See Transport."""
        expected = {"uid": uid, "resourceVersion": resource_version}
        options: Json = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if preconditions := {key: value for key, value in expected.items() if value}:
            options["preconditions"] = preconditions
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if propagation:
            options["propagationPolicy"] = propagation
        await self._send("DELETE", kind.path(namespace, name), body=options)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Json:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
        response = await self._open(method, path, query=query, body=body, content_type=content_type, timeout=timeout)
        try:
            decoded: Json = json.loads(await _read_body(response))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(0, "Unavailable", f"{method} {path}: the response was cut off: {error!r}") from None
        except ValueError:
            raise ApiError(response.status, "InvalidAnswer", f"{method} {path}: the response is not JSON") from None
        finally:
            response.release()
        return decoded

    async def _open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """Send the request with the configured credentials. Raise ApiError for a response of 400 and above."""
        parameters = {key: value for key, value in (query or {}).items() if value}
        try:
            _, url, headers, _, _ = await self._client.param_serialize(
                method,
                path,
                header_params={"Accept": "application/json", "Content-Type": content_type},
                auth_settings=["BearerToken"],
            )
        except (ConfigException, OSError) as error:  # the token is read again here when it is due
            raise Unavailable(0, "Unavailable", f"{method} {path}: no valid credentials: {error}") from None
        full = f"{url}?{urlencode(parameters)}" if parameters else url
        try:
            wrapped = await self._client.call_api(method, full, headers, body, _request_timeout=timeout)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(0, "Unavailable", f"{method} {path}: no response: {error!r}") from None
        response: aiohttp.ClientResponse = wrapped.response
        if response.status < 400:
            return response
        try:
            text = (await _read_body(response)).decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError):
            text = ""
        raise _error_from(response.status, text, f"{method} {path}")


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    """Return the body of a response. Raise ApiError when it exceeds the limit."""
    content = bytearray()
    # limit: api-answer-bytes
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > limits.API_ANSWER_BYTES:
            raise ApiError(response.status, "InvalidAnswer", f"the response has over {limits.API_ANSWER_BYTES} bytes")
    return bytes(content)


def _error_from(status: int, text: str, request: str) -> ApiError:
    """Return the error for a response. Only a body of kind Status is quoted: any other may contain secrets."""
    try:
        decoded = json.loads(text)
    except ValueError:
        decoded = {}
    if isinstance(decoded, dict) and decoded.get("kind") == "Status":
        return error_of(status, reason=str(decoded.get("reason", "")), message=str(decoded.get("message", "")))
    return error_of(status, reason="", message=f"{request}: the server responded with {status}")


def _event(line: bytes) -> WatchEvent:
    """Decode one line of a watch. Raise the error of an ERROR event, and ApiError for a line that is no event."""
    try:
        event = json.loads(line)
        kind, obj = str(event["type"]), event["object"]
        metadata = obj.get("metadata")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ApiError(500, "InvalidAnswer", "the server sent a watch event that cannot be read") from None
    if kind == "ERROR":
        code = obj.get("code")
        status = code if isinstance(code, int) else 500
        raise error_of(status, reason=str(obj.get("reason", "")), message=str(obj.get("message", "")))
    if not isinstance(metadata, dict):
        raise ApiError(500, "InvalidAnswer", "the server sent a watch event without metadata")
    return WatchEvent(kind, obj)


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield the lines of a stream; a stream that breaks ends without an error. Raise ApiError for a line too long."""
    rest = b""
    try:
        # limit: watch-line-bytes
        async for chunk in response.content.iter_any():
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                if line.strip():
                    yield line
            if len(rest) > LARGEST_LINE:
                raise ApiError(500, "InvalidAnswer", "a watch event is larger than the limit")
    except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError):
        return
