"""
Watches: changes as they come, one JSON line each.

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
"""How long a watch lasts that names no timeout."""

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """What a watch is to show. `version` None means: first everything as it stands, then what changes."""

    kind: Kind
    namespace: str
    selection: Selection
    version: int | None
    bookmarks: bool
    streaming_list: bool
    seconds: float


def wish(
    request: web.Request, kind: Kind, *, namespace: str, selection: Selection, options: ListOptions
) -> WatchRequest:
    """Read a watch's parameters; raises Refused."""
    version = options.version
    if options.initial is False and not version:
        version = request.app[CONTEXT].store.version
    asked = queries.number(request.query, "timeoutSeconds")
    return WatchRequest(
        kind=kind,
        namespace=namespace,
        selection=selection,
        version=None if options.initial else version or None,
        bookmarks=queries.flag(request.query, "allowWatchBookmarks"),
        streaming_list=options.initial is True,
        seconds=min(asked or LONGEST_SECONDS, LONGEST_SECONDS),
    )


async def watch(request: web.Request, wanted: WatchRequest) -> web.StreamResponse:
    """Send changes until the timeout, the client's end or the server's."""
    form = _Form(
        wanted.kind,
        tables=responses.wants_table(request),
        partial=responses.wants_metadata(request, many=False),
        include=responses.include(request),
    )
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        async for line in _lines(request.app[CONTEXT], wanted, form, request):
            await response.write(line)
        await response.write_eof()
    return response


async def _lines(context: Context, wanted: WatchRequest, form: "_Form", request: web.Request) -> Any:
    loop = asyncio.get_running_loop()
    end = loop.time() + wanted.seconds
    version = wanted.version
    if version is None:
        objects, version = context.store.snapshot(wanted.kind)
        for key in sorted(objects):
            if _in_view(wanted, objects[key]):
                yield form.line("ADDED", objects[key])
        if wanted.streaming_list and wanted.bookmarks:
            yield form.bookmark(version, {INITIAL_EVENTS_END: "true"})
    bookmark_at = loop.time() + context.bookmark_seconds
    while not context.closing:
        bell, seen = context.bell.next, context.store.version
        try:
            changes = context.store.since(wanted.kind, version)
        except errors.Refused as refused:
            yield form.error(refused)
            return
        for change in changes:
            for line in _shown(wanted, change, form):
                yield line
        version = max(version, changes[-1].version if changes else seen)
        if changes:
            continue
        if loop.time() >= bookmark_at:
            bookmark_at = loop.time() + context.bookmark_seconds
            if wanted.bookmarks:
                yield form.bookmark(version)
        if loop.time() >= end or request.transport is None or request.transport.is_closing():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(min(end, bookmark_at) - loop.time(), 0.001)):
                await bell.wait()


def _in_view(wanted: WatchRequest, obj: Json) -> bool:
    namespace = obj["metadata"].get("namespace", "")
    return (not wanted.namespace or namespace == wanted.namespace) and wanted.selection.matches(obj)


def _shown(wanted: WatchRequest, change: Change, form: "_Form") -> Iterator[bytes]:
    """What a change looks like through the selectors: objects come into view and go out of it."""
    was = change.before is not None and _in_view(wanted, change.before)
    now = change.type != "DELETED" and _in_view(wanted, change.object)
    if now:
        yield form.line("MODIFIED" if was else "ADDED", change.object)
    elif was and change.type == "DELETED":
        yield form.line("DELETED", change.object)
    elif was and change.before is not None:
        last = change.before
        yield form.line("DELETED", {**last, "metadata": {**last["metadata"], "resourceVersion": str(change.version)}})


class _Form:
    """How events are written: plain, as metadata alone, or as Tables whose columns come with the first one."""

    def __init__(self, kind: Kind, *, tables: bool, partial: bool, include: tables.Include) -> None:
        self._kind = kind
        self._tables = tables
        self._partial = partial
        self._include = include
        self._headed = False

    def line(self, event: str, obj: Json) -> bytes:
        """One event."""
        if not self._tables:
            return _encoded(event, tables.partial(obj) if self._partial else obj)
        found = tables.table(self._kind, [obj], obj["metadata"]["resourceVersion"], self._include)
        return self._table_line(event, found)

    def bookmark(self, version: int, annotations: dict[str, str] | None = None) -> bytes:
        """How far the watch has come."""
        metadata: Json = {"resourceVersion": str(version)}
        if annotations:
            metadata["annotations"] = annotations
        obj: Json = {"kind": self._kind.name, "apiVersion": self._kind.api_version, "metadata": metadata}
        if not self._tables:
            return _encoded("BOOKMARK", tables.partial(obj) if self._partial else obj)
        found = tables.table(self._kind, [], str(version), self._include)
        row = {"cells": [], "object": tables.partial(obj)}
        return self._table_line("BOOKMARK", found | {"rows": [row] if annotations else []})

    def error(self, refused: errors.Refused) -> bytes:
        """The last event of a watch that cannot go on."""
        return _encoded("ERROR", refused.status())

    def _table_line(self, event: str, found: Json) -> bytes:
        if self._headed:
            found = found | {"columnDefinitions": []}
        self._headed = True
        return _encoded(event, found)


def _encoded(event: str, obj: Json) -> bytes:
    return msgspec.json.encode({"type": event, "object": obj}) + b"\n"
