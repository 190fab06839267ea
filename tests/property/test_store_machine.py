"""
The store compared with a dictionary, in random orders of writes, watches and restarts.

The dictionary follows Kubernetes' rules: resource versions increase with every write, a write with an old version
conflicts, a finalizer retains an object, and a watch from any version leads to the current state.
"""

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from provisioner.embedded.apiserver.store import patches
from provisioner.embedded.apiserver.store.errors import StatusError
from provisioner.embedded.apiserver.store.lifecycle import DeleteOptions
from provisioner.embedded.apiserver.store.store import Store
from provisioner.model.kinds import ATTRIBUTES_CLASS, LEASE, Kind
from tests.sweeps import times

Json = dict[str, Any]
Key = tuple[Kind, str, str]

NAMES = st.sampled_from(["a", "b", "c"])
KINDS = st.sampled_from([LEASE, ATTRIBUTES_CLASS])
FINALIZER = "example.dev/hold"
KEEP_CHANGES = 24
"""Few enough retained changes that some replays must fail."""


def body(kind: Kind, name: str) -> Json:
    """Return a valid object of the kind."""
    extra: Json = {} if kind is LEASE else {"driverName": "example.dev", "parameters": {"a": "b"}}
    return {"metadata": {"name": name}, **extra}


class StoreMachine(RuleBasedStateMachine):
    """The store under test, and a dictionary of its expected content."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="store-"))
        self.store = Store(self.directory / "engine.db", keep_changes=KEEP_CHANGES)
        self.model: dict[Key, Json] = {}
        self.moments: list[tuple[int, dict[Key, Json]]] = []
        self.stale: dict[Key, str] = {}
        self.version = self.store.version

    @initialize()
    def at_the_start(self) -> None:
        """Record the first state."""
        self._remember()

    def _key(self, kind: Kind, name: str) -> Key:
        return kind, "default" if kind.namespaced else "", name

    def _remember(self) -> None:
        self.moments.append((self.store.version, dict(self.model)))

    def _wrote(self, obj: Json) -> None:
        written = int(obj["metadata"]["resourceVersion"])
        assert written == self.store.version
        assert written > self.version, "versions increase strictly"
        self.version = written
        self._remember()

    @rule(kind=KINDS, name=NAMES, protected=st.booleans())
    def create(self, kind: Kind, name: str, protected: bool) -> None:
        """Create an object: it fails exactly when the name exists."""
        key = self._key(kind, name)
        new = body(kind, name)
        if protected:
            new["metadata"]["finalizers"] = [FINALIZER]
        try:
            created = self.store.create(kind, key[1], new).object
        except StatusError as caught:
            assert caught.reason == "AlreadyExists"
            assert key in self.model
            return
        assert key not in self.model
        self.model[key] = created
        self.stale.pop(key, None)
        self._wrote(created)

    @rule(
        kind=KINDS, name=NAMES, value=st.sampled_from(["1", "2", None]), guard=st.sampled_from(["", "fresh", "stale"])
    )
    def label(self, kind: Kind, name: str, value: str | None, guard: str) -> None:
        """Patch a label: it conflicts exactly when the patch has another version than the object."""
        key = self._key(kind, name)
        before = self.model.get(key)
        metadata: Json = {"labels": {"x": value}}
        current = before["metadata"]["resourceVersion"] if before else "1"
        if guard:
            metadata["resourceVersion"] = current if guard == "fresh" else self.stale.get(key, current)
        try:
            result = self.store.change(
                kind,
                key[1],
                name,
                lambda old: patches.merge(old, {"metadata": metadata}),
            ).object
        except StatusError as caught:
            expected = "NotFound" if before is None else "Conflict"
            assert caught.reason == expected
            assert before is None or metadata.get("resourceVersion", current) != current
            return
        assert before is not None
        assert metadata.get("resourceVersion", current) == current
        if before["metadata"].get("labels", {}).get("x") == value:
            assert result == before, "a patch without effect writes nothing"
            return
        self.stale[key] = current
        self.model[key] = result
        self._wrote(result)

    @rule(kind=KINDS, name=NAMES, wrong_uid=st.booleans())
    def delete(self, kind: Kind, name: str, wrong_uid: bool) -> None:
        """Delete an object: one with finalizers is only marked, and one with another UID stays."""
        key = self._key(kind, name)
        before = self.model.get(key)
        options = DeleteOptions(uid="someone-else" if wrong_uid else "")
        try:
            written = self.store.delete(kind, key[1], name, options)
        except StatusError as caught:
            assert caught.reason == ("NotFound" if before is None else "Conflict")
            assert before is None or wrong_uid
            return
        assert before is not None
        assert not wrong_uid
        protected = bool(before["metadata"].get("finalizers"))
        assert written.deleted is not protected
        if "deletionTimestamp" in before["metadata"]:
            assert written.object == before
            return
        if protected:
            self.stale[key] = before["metadata"]["resourceVersion"]
            self.model[key] = written.object
        else:
            del self.model[key]
        self._wrote(written.object)

    @rule(kind=KINDS, name=NAMES)
    def release(self, kind: Kind, name: str) -> None:
        """Remove the finalizers: that deletes the object exactly when its deletion was requested."""
        key = self._key(kind, name)
        before = self.model.get(key)
        with contextlib.suppress(StatusError):
            written = self.store.change(
                kind,
                key[1],
                name,
                lambda old: patches.merge(old, {"metadata": {"finalizers": None}}),
            )
            assert before is not None
            assert written.deleted is ("deletionTimestamp" in before["metadata"])
            if not before["metadata"].get("finalizers"):
                assert written.object == before
                return
            if written.deleted:
                del self.model[key]
            else:
                self.stale[key] = before["metadata"]["resourceVersion"]
                self.model[key] = written.object
            self._wrote(written.object)
            return
        assert before is None

    @rule(pick=st.randoms(use_true_random=False))
    def replay(self, pick: Any) -> None:
        """Replay changes from an earlier version: they lead to the current state, or the version is too old."""
        version, earlier = pick.choice(self.moments)
        for kind in (LEASE, ATTRIBUTES_CLASS):
            state = {key: obj for key, obj in earlier.items() if key[0] is kind}
            try:
                changes = self.store.since(kind, version)
            except StatusError as caught:
                assert caught.code == 410
                assert self.store.version - version > KEEP_CHANGES // 2, "recent changes are retained"
                continue
            for change in changes:
                key = (kind, *change.key)
                assert change.before == state.get(key)
                assert change.type == (
                    "DELETED" if change.type == "DELETED" else "MODIFIED" if key in state else "ADDED"
                )
                if change.type == "DELETED":
                    del state[key]
                else:
                    state[key] = change.object
            assert state == {key: obj for key, obj in self.model.items() if key[0] is kind}

    @precondition(lambda self: self.model)
    @rule(kind=KINDS)
    def paging_returns_all_objects(self, kind: Kind) -> None:
        """List page by page: the result is that of one request."""
        all_objects = self.store.page(kind)
        found: list[Json] = []
        token = ""
        while True:
            part = self.store.page(kind, limit=1, token=token)
            found += part.items
            token = part.token
            if not token:
                break
        assert found == list(all_objects.items)

    @rule()
    def restart(self) -> None:
        """Open the file again: no object and no version is lost."""
        self.store.close()
        self.store = Store(self.directory / "engine.db", keep_changes=KEEP_CHANGES)
        assert self.store.version == self.version

    @invariant()
    def agrees(self) -> None:
        """The objects in the store are the ones that were written."""
        for kind in (LEASE, ATTRIBUTES_CLASS):
            objects, version = self.store.snapshot(kind)
            assert version == self.version
            assert {(kind, *key): obj for key, obj in objects.items()} == {
                key: obj for key, obj in self.model.items() if key[0] is kind
            }

    def teardown(self) -> None:
        """Close the file and remove it."""
        self.store.close()
        shutil.rmtree(self.directory)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=times(40), stateful_step_count=40, deadline=None)
