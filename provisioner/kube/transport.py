"""
The one seam to an API server: six verbs over raw objects.

`KubeTransport` speaks through the `kubernetes` package's HTTP client (its configuration, credentials and TLS) and
leaves its generated models alone: they drop fields they do not know, and one odd object fails a whole list.
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
from provisioner.kube.errors import ApiError, BadKubeconfig, Unavailable, error_of
from provisioner.model.kinds import Json, Kind

Patch = Json | list[Json]
"""A dict is a merge patch, a list a JSON patch."""

PAGE = 500
CONNECT_SECONDS = 3.0
REQUEST_SECONDS = 15.0
SILENCE_SECONDS = 90.0
"""A watch without even a bookmark for so long is taken for dead; servers send one about every minute."""
LARGEST_LINE = limits.WATCH_LINE_BYTES


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects asked for, and the resourceVersion to watch on from."""

    items: list[Json]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """ADDED, MODIFIED, DELETED or BOOKMARK, and the object (of a bookmark, only its resourceVersion)."""

    type: str
    object: Json


class Transport(Protocol):
    """
    What reconcilers may ask of an API server.

    Every method raises ApiError or one of its kinds. An empty namespace means all of them, or a cluster-scoped kind.
    """

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Json:
        """One object, live."""

    async def list(
        self, kind: Kind, *, namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        """All objects that the selectors choose, however many pages that takes."""

    def watch(self, kind: Kind, *, resource_version: str) -> AsyncIterator[WatchEvent]:
        """Changes after `resource_version`, until the server closes the stream; raises Gone when it is too old."""

    async def create(self, kind: Kind, obj: Json) -> Json:
        """Make an object, in the namespace it names."""

    async def patch(self, kind: Kind, name: str, patch: Patch, *, namespace: str = "", subresource: str = "") -> Json:
        """A dict is a merge patch, a list a JSON patch. A resourceVersion in it makes it compare-and-swap."""

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
        """Delete an object, if it still has that UID and resourceVersion."""


USER_AGENT = "mooring/1"
"""What comes before the slash is who `metadata.managedFields` names."""


class KubeTransport:
    """A Transport over HTTP. Make it inside a running loop, and close it."""

    def __init__(self, client: ApiClient) -> None:
        client.user_agent = USER_AGENT
        self._client = client

    @classmethod
    async def from_kubeconfig(cls, path: Path) -> "KubeTransport":
        """As the kubeconfig's current context says; raises BadKubeconfig."""
        try:
            return cls(await new_client_from_config(config_file=str(path)))
        except (TypeError, AttributeError, LookupError) as error:  # what the library does with another kind of file
            raise BadKubeconfig(
                f"cannot use the kubeconfig {path}: it has not the form of one; name another"
            ) from error
        except (ConfigException, OSError, ValueError, yaml.YAMLError) as error:
            raise BadKubeconfig(f"cannot use the kubeconfig {path}: {error}; name another one, or mend it") from error

    @classmethod
    async def in_cluster(cls) -> "KubeTransport":
        """As the pod's ServiceAccount, whose token is read again as kubelet renews it; raises BadKubeconfig."""
        configuration = Configuration()
        try:
            load_incluster_config(client_configuration=configuration)
            client = ApiClient(configuration)  # reads the authority's file
        except (ConfigException, OSError, ValueError) as error:
            raise BadKubeconfig(
                f"this is no pod that may speak to a cluster ({error}); outside of one, name a kubeconfig"
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
        # unbounded: all objects of a kind, as the API server has them
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
            "timeoutSeconds": str(random.randint(240, 300)),  # noqa: S311 # spreads reconnects, keeps no secret
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        answer = await self._open("GET", kind.path(), query=query, timeout=timeout)
        try:
            async for line in _lines(answer):
                yield _event(line)
        finally:
            answer.close()

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
        wanted = {"uid": uid, "resourceVersion": resource_version}
        options: Json = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if preconditions := {key: value for key, value in wanted.items() if value}:
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
        answer = await self._open(method, path, query=query, body=body, content_type=content_type, timeout=timeout)
        try:
            decoded: Json = json.loads(await _whole(answer))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(0, "Unavailable", f"{method} {path}: the answer broke off: {error!r}") from None
        except ValueError:
            raise ApiError(answer.status, "InvalidAnswer", f"{method} {path}: the answer is not JSON") from None
        finally:
            answer.release()
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
        """Send the request with the configured credentials; an answer that is no success becomes an ApiError."""
        asked = {key: value for key, value in (query or {}).items() if value}
        try:
            _, url, headers, _, _ = await self._client.param_serialize(
                method,
                path,
                header_params={"Accept": "application/json", "Content-Type": content_type},
                auth_settings=["BearerToken"],
            )
        except (ConfigException, OSError) as error:  # a token is read again here once it is due
            raise Unavailable(0, "Unavailable", f"{method} {path}: no credentials now: {error}") from None
        full = f"{url}?{urlencode(asked)}" if asked else url
        try:
            wrapped = await self._client.call_api(method, full, headers, body, _request_timeout=timeout)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(0, "Unavailable", f"{method} {path}: no answer: {error!r}") from None
        answer: aiohttp.ClientResponse = wrapped.response
        if answer.status < 400:
            return answer
        try:
            text = (await _whole(answer)).decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError):
            text = ""
        raise _refusal(answer.status, text, f"{method} {path}")


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    """Read the body of an answer. Raises ApiError for one that is longer than any may be."""
    content = bytearray()
    # limit: api-answer-bytes
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) > limits.API_ANSWER_BYTES:
            raise ApiError(answer.status, "InvalidAnswer", f"the answer has over {limits.API_ANSWER_BYTES} bytes")
    return bytes(content)


def _refusal(status: int, text: str, request: str) -> ApiError:
    """Only a body of kind Status is quoted: anything else may hold what nobody should see."""
    try:
        decoded = json.loads(text)
    except ValueError:
        decoded = {}
    if isinstance(decoded, dict) and decoded.get("kind") == "Status":
        return error_of(status, reason=str(decoded.get("reason", "")), message=str(decoded.get("message", "")))
    return error_of(status, reason="", message=f"{request}: the server answered {status}")


def _event(line: bytes) -> WatchEvent:
    """One line of a watch; raises what an ERROR says, and ApiError for a line that is no event."""
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
        raise ApiError(500, "InvalidAnswer", "the server sent a watch event about nothing")
    return WatchEvent(kind, obj)


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The stream cut at newlines, however long a line is; a stream that breaks just ends."""
    rest = b""
    try:
        # limit: watch-line-bytes
        async for chunk in answer.content.iter_any():
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                if line.strip():
                    yield line
            if len(rest) > LARGEST_LINE:
                raise ApiError(500, "InvalidAnswer", "a watch event is larger than any object may be")
    except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError):
        return
