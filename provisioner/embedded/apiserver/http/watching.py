"""
Watches: changes as they happen, one line of JSON for each.

Source: Kubernetes API conventions, "Efficient detection of changes", "Watch bookmarks" and "Streaming lists".
"""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from provisioner.embedded.apiserver.http import queries, responses, tables
from provisioner.embedded.apiserver.http.context import CONTEXT, Context
from provisioner.embedded.apiserver.http.list_options import ListOptions
from provisioner.embedded.apiserver.store import errors
from provisioner.embedded.apiserver.store.records import Change
from provisioner.embedded.apiserver.store.selectors import Selection
from provisioner.model.kinds import Json, Kind

LONGEST_SECONDS = 1800
"""Maximum duration of a watch in seconds, also used if it names no timeout."""

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """The parameters of a watch; `version` None means: send the current objects first, then changes."""

    kind: Kind
    namespace: str
    selection: Selection
    version: int | None
    bookmarks: bool
    streaming_list: bool
    seconds: float


def read_request(
    request: web.Request, kind: Kind, *, namespace: str, selection: Selection, options: ListOptions
) -> WatchRequest:
    """Read a watch's parameters; raise StatusError (400)."""
    version = options.version
    if options.initial is False and not version:
        version = request.app[CONTEXT].store.version
    requested = queries.number(request.query, "timeoutSeconds")
    return WatchRequest(
        kind=kind,
        namespace=namespace,
        selection=selection,
        version=None if options.initial else version or None,
        bookmarks=queries.flag(request.query, "allowWatchBookmarks"),
        streaming_list=options.initial is True,
        seconds=min(requested or LONGEST_SECONDS, LONGEST_SECONDS),
    )


async def watch(request: web.Request, watch_request: WatchRequest) -> web.StreamResponse:
    """Send changes until the timeout, or until the client disconnects or the server stops."""
    form = _Form(
        watch_request.kind,
        tables=responses.wants_table(request),
        partial=responses.wants_metadata(request, many=False),
        include=responses.include(request),
    )
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        async for line in _lines(request.app[CONTEXT], watch_request, form, request):
            await response.write(line)
        await response.write_eof()
    return response


async def _lines(context: Context, watch_request: WatchRequest, form: "_Form", request: web.Request) -> Any:
    loop = asyncio.get_running_loop()
    end = loop.time() + watch_request.seconds
    version = watch_request.version
    if version is None:
        objects, version = context.store.snapshot(watch_request.kind)
        for key in sorted(objects):
            if _in_view(watch_request, objects[key]):
                yield form.line("ADDED", objects[key])
        if watch_request.streaming_list and watch_request.bookmarks:
            yield form.bookmark(version, {INITIAL_EVENTS_END: "true"})
    bookmark_at = loop.time() + context.bookmark_seconds
    while not context.closing:
        event, newest = context.broadcast.next, context.store.version
        try:
            changes = context.store.since(watch_request.kind, version)
        except errors.StatusError as refused:
            yield form.error(refused)
            return
        for change in changes:
            for line in _event_lines(watch_request, change, form):
                yield line
        version = max(version, changes[-1].version if changes else newest)
        if changes:
            continue
        if loop.time() >= bookmark_at:
            bookmark_at = loop.time() + context.bookmark_seconds
            if watch_request.bookmarks:
                yield form.bookmark(version)
        if loop.time() >= end or request.transport is None or request.transport.is_closing():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(min(end, bookmark_at) - loop.time(), 0.001)):
                await event.wait()


def _in_view(watch_request: WatchRequest, obj: Json) -> bool:
    namespace = obj["metadata"].get("namespace", "")
    return (not watch_request.namespace or namespace == watch_request.namespace) and watch_request.selection.matches(
        obj
    )


def _event_lines(watch_request: WatchRequest, change: Change, form: "_Form") -> Iterator[bytes]:
    """Yield a change as the selectors show it: ADDED if the object starts to match, DELETED if it stops."""
    was = change.before is not None and _in_view(watch_request, change.before)
    now = change.type != "DELETED" and _in_view(watch_request, change.object)
    if now:
        yield form.line("MODIFIED" if was else "ADDED", change.object)
    elif was and change.type == "DELETED":
        yield form.line("DELETED", change.object)
    elif was and change.before is not None:
        last = change.before
        yield form.line("DELETED", {**last, "metadata": {**last["metadata"], "resourceVersion": str(change.version)}})


class _Form:
    """Encoder of events: whole objects, metadata only, or Tables, of which the first has the columns."""

    def __init__(self, kind: Kind, *, tables: bool, partial: bool, include: tables.Include) -> None:
        self._kind = kind
        self._tables = tables
        self._partial = partial
        self._include = include
        self._columns_sent = False

    def line(self, event: str, obj: Json) -> bytes:
        """Encode one event."""
        if not self._tables:
            return _encoded(event, tables.partial(obj) if self._partial else obj)
        found = tables.table(self._kind, [obj], obj["metadata"]["resourceVersion"], self._include)
        return self._table_line(event, found)

    def bookmark(self, version: int, annotations: dict[str, str] | None = None) -> bytes:
        """Encode a bookmark of a version."""
        metadata: Json = {"resourceVersion": str(version)}
        if annotations:
            metadata["annotations"] = annotations
        obj: Json = {"kind": self._kind.name, "apiVersion": self._kind.api_version, "metadata": metadata}
        if not self._tables:
            return _encoded("BOOKMARK", tables.partial(obj) if self._partial else obj)
        found = tables.table(self._kind, [], str(version), self._include)
        row = {"cells": [], "object": tables.partial(obj)}
        return self._table_line("BOOKMARK", found | {"rows": [row] if annotations else []})

    def error(self, refused: errors.StatusError) -> bytes:
        """Encode the error event that ends a watch."""
        return _encoded("ERROR", refused.status())

    def _table_line(self, event: str, found: Json) -> bytes:
        if self._columns_sent:
            found = found | {"columnDefinitions": []}
        self._columns_sent = True
        return _encoded(event, found)


def _encoded(event: str, obj: Json) -> bytes:
    return msgspec.json.encode({"type": event, "object": obj}) + b"\n"
