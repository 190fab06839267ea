"""
The object store: a write is validated, gets the next resourceVersion, is written to disk and then becomes visible.

All objects share one version counter. Reads are served from memory, which holds only what is on disk. Returned objects
are shared with other readers; do not mutate them.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from provisioner import limits
from provisioner.embedded.apiserver.store import admission, errors, lifecycle, listing
from provisioner.embedded.apiserver.store.database import Database, Loaded, UnreadableStoreError
from provisioner.embedded.apiserver.store.history import History
from provisioner.embedded.apiserver.store.lifecycle import DeleteOptions, Part
from provisioner.embedded.apiserver.store.listing import Page, Token
from provisioner.embedded.apiserver.store.object_limits import must_fit
from provisioner.embedded.apiserver.store.origins import Origins
from provisioner.embedded.apiserver.store.ownership import last_applied
from provisioner.embedded.apiserver.store.ownership.applying import apply
from provisioner.embedded.apiserver.store.ownership.recording import UNKNOWN, Writer, updated
from provisioner.embedded.apiserver.store.proposal import Proposal, check_change, check_new
from provisioner.embedded.apiserver.store.records import Change, ChangeType, Key, key_of
from provisioner.embedded.apiserver.store.selectors import Selection
from provisioner.embedded.apiserver.store.strict import Validation, conform, unknown_field
from provisioner.embedded.apiserver.store.writing import committed
from provisioner.model import kinds
from provisioner.model.kinds import KINDS, Json, Kind

KEEP_CHANGES = limits.CHANGES
"""Number of retained changes: how far back a watch can start."""

FIRST_NAMESPACES = ("default", "kube-system")
"""Created with the file; they cannot be deleted."""

NAME_ATTEMPTS = 8
EVENTS_BETWEEN_SWEEPS = 64

Edit = Callable[[Json], Json]
"""Returns the new object for the current one without mutating it; may raise StatusError."""


@dataclass(frozen=True, slots=True)
class Written:
    """The object after a write, the warnings for the client, and whether it was deleted or created."""

    object: Json
    warnings: tuple[str, ...] = ()
    deleted: bool = False
    created: bool = False


class Store:
    """
    All objects of one engine. The methods are thread-safe; writes wait for each other and for the disk.

    All methods that take a kind raise StatusError for what Kubernetes refuses, with Kubernetes' code and reason.
    """

    def __init__(self, path: Path, *, origins: Origins | None = None, keep_changes: int = KEEP_CHANGES) -> None:
        """Open or create the file; raise UnreadableStoreError."""
        self._origins = origins or Origins()
        self._database = Database(path)
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._objects: dict[Kind, dict[Key, Json]] = {kind: {} for kind in KINDS}
        loaded = self._load()
        for kind, obj in loaded.objects:
            self._objects[kind][key_of(obj)] = obj
        self._version = loaded.version
        self._history = History(loaded.changes, keep=keep_changes, compacted=loaded.compacted)
        self._events_created = 0
        for name in FIRST_NAMESPACES:
            if ("", name) not in self._objects[kinds.NAMESPACE]:
                self.create(kinds.NAMESPACE, "", {"metadata": {"name": name}})

    def _load(self) -> Loaded:
        try:
            return self._database.load()
        except UnreadableStoreError:
            self._database.close()
            raise

    # reading

    @property
    def version(self) -> int:
        """The resourceVersion of the newest visible write."""
        return self._version

    def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """Return one object; raise StatusError (404) if it does not exist."""
        found = self._objects[kind].get((namespace, name))
        if found is None:
            raise errors.not_found(kind, name)
        return found

    def snapshot(self, kind: Kind) -> tuple[Mapping[Key, Json], int]:
        """Return all objects of a kind and the version of the store."""
        with self._reading:
            return MappingProxyType(dict(self._objects[kind])), self._version

    def page(
        self,
        kind: Kind,
        *,
        namespace: str = "",
        selection: Selection | None = None,
        limit: int = 0,
        token: str = "",
        exactly: int | None = None,
    ) -> Page:
        """
        Return a list, or with `token` its next page; `exactly` is the version to list, None the newest.

        Raise StatusError (410) if the changes since that version are no longer retained.
        """
        objects, version = self.snapshot(kind)
        after: Key | None = None
        if token:
            read = Token.read(token)
            after, exactly = (read.namespace, read.name), read.version
        if exactly is not None and exactly < version:
            objects = listing.before_changes(objects, self._changes_between(kind, exactly, version, paging=bool(token)))
            version = exactly
        return listing.page(
            objects,
            version=version, namespace=namespace, selection=selection or Selection(), limit=limit, after=after,
        )  # fmt: skip

    def _changes_between(self, kind: Kind, first: int, last: int, *, paging: bool) -> list[Change]:
        try:
            return [change for change in self.since(kind, first) if change.version <= last]
        except errors.StatusError:
            if not paging:
                raise
            raise errors.expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "Start a new list without the continue parameter."
            ) from None

    def since(self, kind: Kind, version: int) -> list[Change]:
        """Return a kind's changes after a version; raise StatusError (410) if it is dropped or not reached yet."""
        with self._reading:
            if version > self._version:
                raise errors.expired(f"resource version {version} does not exist yet, the newest is {self._version}")
            return self._history.since(kind, version)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each write, in the writer's thread; return a function that unsubscribes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # writing

    def create(
        self,
        kind: Kind,
        namespace: str,
        obj: Json,
        *,
        writer: Writer = UNKNOWN,
        validation: Validation = "Warn",
        dry_run: bool = False,
    ) -> Written:
        """Create an object."""
        must_fit(obj)
        body, unknown = conform(kind, obj, validation=validation)
        sent = body.get("metadata", {}).get("namespace", namespace)
        if kind.namespaced and sent != namespace:
            raise errors.bad_request(
                f"the namespace of the provided object ({sent}) does not match the namespace sent on the request "
                f"({namespace})"
            )
        if body.get("metadata", {}).get("resourceVersion"):
            raise errors.StatusError(500, "", "resourceVersion should not be set on objects to be created")
        with self._writing:
            new = self._before_create(kind, namespace, body)
            managed = updated(kind, {}, new, writer, part="main", now=self._origins.now())
            return self._add(kind, new, managed, unknown, dry_run=dry_run)

    def _before_create(self, kind: Kind, namespace: str, body: Json) -> Json:
        return lifecycle.before_create(
            kind, admission.default(kind, body),
            name=self._new_name(kind, namespace, body), namespace=namespace,
            uid=self._origins.uid(), now=self._origins.now(),
        )  # fmt: skip

    def _add(self, kind: Kind, new: Json, managed: list[Json], unknown: Iterable[str], *, dry_run: bool) -> Written:
        """Validate and store a new object."""
        _set_managers(new, managed)
        new = admission.admit(kind, new, classes=self._objects[kinds.STORAGE_CLASS].values())
        check_new(Proposal(kind, None, new, self._objects))
        if not dry_run:
            new = self._commit("ADDED", kind, new, before=None)
            self._sweep_events(kind)
        return Written(new, tuple(map(unknown_field, unknown)), created=True)

    def _new_name(self, kind: Kind, namespace: str, body: Json) -> str:
        metadata = body.get("metadata", {})
        if name := metadata.get("name", ""):
            if (namespace, name) in self._objects[kind]:
                raise errors.already_exists(kind, name)
            return str(name)
        if base := metadata.get("generateName", ""):
            for _ in range(NAME_ATTEMPTS):
                name = self._origins.name(base)
                if (namespace, name) not in self._objects[kind]:
                    return name
            raise errors.already_exists(kind, name)
        return ""

    def change(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        edit: Edit,
        *,
        part: Part = "main",
        writer: Writer = UNKNOWN,
        validation: Validation = "Warn",
        dry_run: bool = False,
    ) -> Written:
        """
        Update an object: `edit` returns the new object for the current one.

        An update that changes nothing writes nothing. An update that removes the last finalizer of an object that is
        being deleted deletes it.
        """
        with self._writing:
            old = self.get(kind, namespace, name)
            edited = edit(old)
            must_fit(edited, old)
            body, unknown = conform(kind, edited, validation=validation)
            managed = body.get("metadata", {}).get("managedFields")
            new = lifecycle.before_update(kind, old, admission.default(kind, body), part=part)
            _set_managers(new, managed)
            _set_managers(new, updated(kind, old, new, writer, part=part, now=self._origins.now()))
            return self._put(kind, old, new, unknown, part=part, dry_run=dry_run)

    def _put(self, kind: Kind, old: Json, new: Json, unknown: Iterable[str], *, part: Part, dry_run: bool) -> Written:
        """Validate an update and store it, unless nothing changed."""
        check_change(Proposal(kind, old, new, self._objects), part=part)
        deleted = lifecycle.is_finished(kind, new)
        if not dry_run and (deleted or new != old):
            new = self._commit("DELETED" if deleted else "MODIFIED", kind, new, before=old)
        return Written(new, tuple(map(unknown_field, unknown)), deleted)

    def apply(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        configuration: Json,
        *,
        writer: Writer,
        part: Part = "main",
        force: bool = False,
        dry_run: bool = False,
    ) -> Written:
        """
        Apply a configuration on the server's side: merge it into the object, or create the object.

        Unknown fields are always refused, since no manager could own them.
        """
        must_fit(configuration)
        body, unknown = conform(kind, configuration, validation="Warn")
        if unknown:
            raise _undeclared(kind, namespace, name, unknown)
        with self._writing:
            now = self._origins.now()
            old = self._objects[kind].get((namespace, name))
            if old is None:
                if part != "main" or writer.subresource:
                    raise errors.not_found(kind, name)
                created = apply(kind, {}, body, writer, part=part, force=force)
                new = self._before_create(
                    kind, namespace, {**body, "metadata": {**body.get("metadata", {}), "name": name}}
                )
                return self._add(kind, new, created.managed(now), unknown, dry_run=dry_run)
            done = last_applied.apply(kind, old, body, writer, part=part, force=force)
            must_fit(done.object, old)
            new = lifecycle.before_update(kind, old, done.object, part=part)
            _set_managers(new, done.managed(now))
            return self._put(kind, old, new, unknown, part=part, dry_run=dry_run)

    def delete(self, kind: Kind, namespace: str, name: str, options: DeleteOptions | None = None) -> Written:
        """Delete an object, or only mark it for deletion if it has finalizers or a grace period."""
        options = options or DeleteOptions()
        with self._writing:
            old = self.get(kind, namespace, name)
            if kind is kinds.NAMESPACE and name in FIRST_NAMESPACES:
                raise errors.forbidden(kind, name, "this namespace may not be deleted")
            grace = lifecycle.grace_seconds(kind, old, options)
            until = self._origins.now(later=grace)
            new = lifecycle.before_delete(kind, old, options, now=self._origins.now(), until=until)
            deleted = lifecycle.is_finished(kind, new)
            if not options.dry_run and (deleted or new != old):
                new = self._commit("DELETED" if deleted else "MODIFIED", kind, new, before=old)
            return Written(new, deleted=deleted)

    def _commit(self, change_type: ChangeType, kind: Kind, new: Json, *, before: Json | None) -> Json:
        """Assign the next version, write the object, make it visible, and return it as written."""
        version = self._version + 1
        metadata = {**new["metadata"], "resourceVersion": str(version)}
        stored = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}
        stored |= {field: new[field] for field in sorted(new.keys() - stored.keys())}
        change = Change(version, change_type, kind, key_of(stored), stored, before)
        compacted = self._history.surplus(1)
        committed(self._database, [change], compacted=compacted)
        with self._reading:
            if change_type == "DELETED":
                self._objects[kind].pop(change.key, None)
            else:
                self._objects[kind][change.key] = stored
            self._history.add([change], compacted=compacted)
            self._version = version
        for listener in tuple(self._listeners):
            listener()
        return stored

    def _sweep_events(self, kind: Kind) -> None:
        """Delete Events that were not repeated within an hour; runs at every EVENTS_BETWEEN_SWEEPS-th Event."""
        if kind is not kinds.EVENT:
            return
        self._events_created += 1
        if self._events_created % EVENTS_BETWEEN_SWEEPS:
            return
        limit = self._origins.now(later=-admission.EVENT_LIFETIME_SECONDS)
        for event in list(self._objects[kind].values()):
            if admission.last_seen(event) < limit:
                self._commit("DELETED", kind, event, before=event)

    def close(self) -> None:
        """Close the file when the running write has finished."""
        with self._writing:
            self._database.close()


def _undeclared(kind: Kind, namespace: str, name: str, paths: Iterable[str]) -> errors.StatusError:
    """Return upstream's error for fields that are not in the schema."""
    fields = ", ".join(f".{path}" for path in paths)
    about = f"{namespace}/{name}; {kind.api_version}, Kind={kind.name}"
    return errors.StatusError(
        500, "", f"failed to create typed patch object ({about}): {fields}: field not declared in schema"
    )


def _set_managers(obj: Json, managed: list[Json] | None) -> None:
    if managed:
        obj["metadata"]["managedFields"] = managed
    else:
        obj["metadata"].pop("managedFields", None)
