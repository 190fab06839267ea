"""Handlers for one kind: list, watch, create, read, replace, patch, delete, and its subresources."""

import functools
from collections.abc import Sequence
from typing import Final, Protocol

from aiohttp import web

from provisioner.embedded.apiserver.http import list_options, queries, responses, scale, watching
from provisioner.embedded.apiserver.http.context import CONTEXT
from provisioner.embedded.apiserver.http.list_options import ListOptions
from provisioner.embedded.apiserver.store import errors, patches, strategic
from provisioner.embedded.apiserver.store.lifecycle import DeleteOptions, Part
from provisioner.embedded.apiserver.store.listing import Page
from provisioner.embedded.apiserver.store.problems import immutable
from provisioner.embedded.apiserver.store.selectors import Selection, selection
from provisioner.embedded.apiserver.store.store import Edit, Store, Written
from provisioner.model.kinds import Json, Kind

APPLY: Final = "application/apply-patch+yaml"
PATCHES: Final = (patches.JSON, patches.MERGE, strategic.MEDIA_TYPE, APPLY)


class View(Protocol):
    """Conversion between an object and the representation that a subresource serves."""

    def show(self, obj: Json) -> Json:
        """Return the representation of an object."""

    def apply(self, obj: Json, written: Json) -> Json:
        """Return the object with the changes of a written representation."""

    def configuration(self, written: Json, kind: Kind) -> Json:
        """Convert an applied representation to a configuration of the object."""


class Resource:
    """Handlers of one kind or subresource; `part` is what they write, `view` the representation they serve."""

    def __init__(self, kind: Kind, *, part: Part = "main", view: View | None = None, subresource: str = "") -> None:
        self.kind = kind
        self._part: Part = part
        self._view: View = view or _Whole()
        self._subresource = subresource

    async def list_or_watch(self, request: web.Request) -> web.StreamResponse:
        """Handle GET of a collection: a list or a watch."""
        chosen = self._selection(request)
        namespace = request.match_info.get("namespace", "")
        options = list_options.read(request.query)
        if options.watch:
            watch_request = watching.read_request(
                request, self.kind, namespace=namespace, selection=chosen, options=options
            )
            return await watching.watch(request, watch_request)
        return responses.many(request, self.kind, self._page(request, namespace, chosen, options))

    def _page(self, request: web.Request, namespace: str, chosen: Selection, options: ListOptions) -> Page:
        store = request.app[CONTEXT].store
        _must_be_known(store, options.version)
        return store.page(
            self.kind,
            namespace=namespace,
            selection=chosen,
            limit=options.limit,
            token=options.token,
            exactly=options.exactly,
        )

    def _selection(self, request: web.Request) -> Selection:
        query = request.query
        return selection(self.kind, labels=query.get("labelSelector", ""), fields=query.get("fieldSelector", ""))

    async def create(self, request: web.Request) -> web.Response:
        """Handle POST of an object."""
        context, query = request.app[CONTEXT], request.query
        obj = queries.as_object(await queries.body(request))
        written = await context.write(
            functools.partial(
                context.store.create,
                self.kind,
                request.match_info.get("namespace", ""),
                obj,
                writer=queries.writer(request),
                validation=queries.validation(query),
                dry_run=queries.dry_run(query),
            )
        )
        return responses.one(request, self.kind, written.object, status=201, warnings=written.warnings)

    async def read(self, request: web.Request) -> web.Response:
        """Handle GET of one object."""
        store = request.app[CONTEXT].store
        _must_be_known(store, queries.number(request.query, "resourceVersion"))
        found = store.get(self.kind, *_key(request))
        return self._answer(request, found)

    async def replace(self, request: web.Request) -> web.Response:
        """Handle PUT of an object."""
        obj = queries.as_object(await queries.body(request))
        return await self._change(request, lambda _: obj)

    async def patch(self, request: web.Request) -> web.Response:
        """Handle PATCH; the patch is applied to the object's current version in the writer thread."""
        kind = request.content_type
        if kind not in PATCHES:
            raise queries.unsupported_media_type(", ".join(PATCHES))
        if kind == APPLY:
            return await self._apply(request)
        queries.no_force(request.query)
        patch = queries.from_json(await queries.raw_body(request))
        edit: Edit
        if kind == patches.JSON:
            if not isinstance(patch, list):
                raise errors.bad_request("the body of a JSON patch is not a list")
            edit = functools.partial(patches.apply_operations, operations=patch)
        elif kind == patches.MERGE:
            edit = functools.partial(patches.merge, patch=queries.as_object(patch))
        else:
            edit = functools.partial(strategic.merge, patch=queries.as_object(patch))
        return await self._change(request, lambda old: self._same_uid(old, edit(old)))

    def _same_uid(self, old: Json, new: Json) -> Json:
        """Return the patched object; raise StatusError (422) if the patch sets another uid."""
        uid = new["metadata"].get("uid", "") if isinstance(new.get("metadata"), dict) else ""
        if uid and uid != old["metadata"]["uid"]:
            raise errors.invalid(self.kind, old["metadata"]["name"], [immutable("metadata.uid", uid)])
        return new

    async def _change(self, request: web.Request, edit: Edit) -> web.Response:
        context, query = request.app[CONTEXT], request.query
        written: Written = await context.write(
            functools.partial(
                context.store.change,
                self.kind,
                *_key(request),
                lambda old: self._view.apply(old, edit(self._view.show(old))),
                part=self._part,
                writer=queries.writer(request, subresource=self._subresource),
                validation=queries.validation(query),
                dry_run=queries.dry_run(query),
            )
        )
        return self._answer(request, written.object, warnings=written.warnings)

    async def _apply(self, request: web.Request) -> web.Response:
        """Handle PATCH with an applied configuration."""
        context, query = request.app[CONTEXT], request.query
        body = queries.as_object(await queries.from_yaml(await queries.raw_body(request)))
        namespace, name = _key(request)
        configuration = _checked(self._view.configuration(body, self.kind), namespace=namespace, name=name)
        written = await context.write(
            functools.partial(
                context.store.apply,
                self.kind,
                namespace,
                name,
                configuration,
                part=self._part,
                writer=queries.applier(request, subresource=self._subresource),
                force=queries.flag(query, "force"),
                dry_run=queries.dry_run(query),
            )
        )
        return self._answer(request, written.object, status=201 if written.created else 200, warnings=written.warnings)

    def _answer(
        self, request: web.Request, obj: Json, *, status: int = 200, warnings: Sequence[str] = ()
    ) -> web.Response:
        view = self._view.show(obj)
        if view is not obj:
            return responses.json(view, status=status, warnings=warnings)
        return responses.one(request, self.kind, obj, status=status, warnings=warnings)

    async def delete(self, request: web.Request) -> web.Response:
        """Handle DELETE of one object."""
        context = request.app[CONTEXT]
        options = await queries.delete_options(request)
        written = await context.write(functools.partial(context.store.delete, self.kind, *_key(request), options))
        return responses.success(self.kind, written.object) if written.deleted else responses.json(written.object)

    async def delete_collection(self, request: web.Request) -> web.Response:
        """Handle DELETE of a collection; an object that was deleted meanwhile is not an error."""
        context, chosen = request.app[CONTEXT], self._selection(request)
        options = await queries.delete_options(request)
        namespace = request.match_info.get("namespace", "")
        page = self._page(request, namespace, chosen, list_options.read(request.query))
        await context.write(functools.partial(_delete_all, context.store, self.kind, page.items, options))
        return responses.many(request, self.kind, page)

    async def bind(self, request: web.Request) -> web.Response:
        """Handle a pod's binding, at the pod's path or in the collection of bindings: set the pod's node."""
        context = request.app[CONTEXT]
        binding = queries.as_object(queries.from_json(await queries.raw_body(request)))
        metadata = binding.get("metadata")
        name = request.match_info.get("name") or (metadata.get("name") if isinstance(metadata, dict) else None)
        if not isinstance(name, str) or not name:
            raise errors.bad_request("metadata.name of the binding must name a pod")
        await context.write(
            functools.partial(
                context.store.change,
                self.kind,
                request.match_info["namespace"],
                name,
                functools.partial(scale.bound, kind=self.kind, binding=binding),
                part="binding",
                writer=queries.writer(request, subresource="binding"),
                dry_run=queries.dry_run(request.query),
            )
        )
        return responses.json({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, status=201)


class _Whole:
    """The whole object, unconverted."""

    def show(self, obj: Json) -> Json:
        """Return the object."""
        return obj

    def apply(self, obj: Json, written: Json) -> Json:  # noqa: ARG002 - the old object is not needed
        """Return the written object."""
        return written

    def configuration(self, written: Json, kind: Kind) -> Json:  # noqa: ARG002 - it needs no conversion
        """Return the applied configuration."""
        return written


def _must_be_known(store: Store, version: int | None) -> None:
    """Raise StatusError (504) for a version that the store has not reached."""
    if version and version > store.version:
        message = f"Too large resource version: {version}, current: {store.version}"
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        raise errors.StatusError(504, "Timeout", message, {"retryAfterSeconds": 1, "causes": [cause]})


def _checked(configuration: Json, *, namespace: str, name: str) -> Json:
    """Return the configuration with name and namespace set; raise StatusError (400) unless it is of this object."""
    for field in ("apiVersion", "kind"):
        if not configuration.get(field):
            raise errors.bad_request(f"the applied configuration has no {field}")
    metadata = configuration.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise errors.bad_request("metadata of the applied configuration is not an object")
    if metadata.get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    for field, expected in (("name", name), ("namespace", namespace)):
        if (sent := metadata.get(field, expected)) != expected:
            raise errors.bad_request(
                f"the {field} of the object ({sent}) does not match the {field} on the URL ({expected})"
            )
    named = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {**configuration, "metadata": {**metadata, **named}}


def _key(request: web.Request) -> tuple[str, str]:
    return request.match_info.get("namespace", ""), request.match_info["name"]


def _delete_all(store: Store, kind: Kind, objects: Sequence[Json], options: DeleteOptions) -> None:
    for obj in objects:
        metadata = obj["metadata"]
        try:
            store.delete(kind, metadata.get("namespace", ""), metadata["name"], options)
        except errors.StatusError as refused:
            if refused.code != 404:
                raise
