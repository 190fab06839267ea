"""
The store against a plain dictionary, through every order of writes, watches and restarts that chance finds.

The dictionary knows what Kubernetes promises: versions rise with every write, a write with an old version conflicts, a
finalizer keeps an object, and a watch from any moment leads to what stands.
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
KEEP = 24
"""So few changes are kept that some replays must fail."""


def body(kind: Kind, name: str) -> Json:
    """A valid object of the kind."""
    extra: Json = {} if kind is LEASE else {"driverName": "example.dev", "parameters": {"a": "b"}}
    return {"metadata": {"name": name}, **extra}


class StoreMachine(RuleBasedStateMachine):
    """The store under test beside a dictionary of what must be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="store-"))
        self.store = Store(self.directory / "engine.db", keep_changes=KEEP)
        self.model: dict[Key, Json] = {}
        self.moments: list[tuple[int, dict[Key, Json]]] = []
        self.stale: dict[Key, str] = {}
        self.version = self.store.version

    @initialize()
    def at_the_start(self) -> None:
        """Remember the first moment."""
        self._remember()

    def _key(self, kind: Kind, name: str) -> Key:
        return kind, "default" if kind.namespaced else "", name

    def _remember(self) -> None:
        self.moments.append((self.store.version, dict(self.model)))

    def _wrote(self, obj: Json) -> None:
        written = int(obj["metadata"]["resourceVersion"])
        assert written == self.store.version
        assert written > self.version, "versions rise strictly"
        self.version = written
        self._remember()

    @rule(kind=KINDS, name=NAMES, held=st.booleans())
    def create(self, kind: Kind, name: str, held: bool) -> None:
        """A name is free or taken, never both."""
        key = self._key(kind, name)
        new = body(kind, name)
        if held:
            new["metadata"]["finalizers"] = [FINALIZER]
        try:
            made = self.store.create(kind, key[1], new).object
        except StatusError as refused:
            assert refused.reason == "AlreadyExists"
            assert key in self.model
            return
        assert key not in self.model
        self.model[key] = made
        self.stale.pop(key, None)
        self._wrote(made)

    @rule(
        kind=KINDS, name=NAMES, value=st.sampled_from(["1", "2", None]), guard=st.sampled_from(["", "fresh", "stale"])
    )
    def label(self, kind: Kind, name: str, value: str | None, guard: str) -> None:
        """A patch conflicts exactly when it carries another version than the object's."""
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
        except StatusError as refused:
            expected = "NotFound" if before is None else "Conflict"
            assert refused.reason == expected
            assert before is None or metadata.get("resourceVersion", current) != current
            return
        assert before is not None
        assert metadata.get("resourceVersion", current) == current
        if before["metadata"].get("labels", {}).get("x") == value:
            assert result == before, "a change of nothing writes nothing"
            return
        self.stale[key] = current
        self.model[key] = result
        self._wrote(result)

    @rule(kind=KINDS, name=NAMES, wrong_uid=st.booleans())
    def delete(self, kind: Kind, name: str, wrong_uid: bool) -> None:
        """A deletion removes what nothing holds, marks the rest, and spares another uid."""
        key = self._key(kind, name)
        before = self.model.get(key)
        options = DeleteOptions(uid="someone-else" if wrong_uid else "")
        try:
            written = self.store.delete(kind, key[1], name, options)
        except StatusError as refused:
            assert refused.reason == ("NotFound" if before is None else "Conflict")
            assert before is None or wrong_uid
            return
        assert before is not None
        assert not wrong_uid
        held = bool(before["metadata"].get("finalizers"))
        assert written.deleted is not held
        if "deletionTimestamp" in before["metadata"]:
            assert written.object == before
            return
        if held:
            self.stale[key] = before["metadata"]["resourceVersion"]
            self.model[key] = written.object
        else:
            del self.model[key]
        self._wrote(written.object)

    @rule(kind=KINDS, name=NAMES)
    def release(self, kind: Kind, name: str) -> None:
        """The last finalizer of a deleted object takes it along; of a living one it does not."""
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
        """From any remembered moment the changes lead to what stands now, or are said to be too old."""
        version, then = pick.choice(self.moments)
        for kind in (LEASE, ATTRIBUTES_CLASS):
            state = {key: obj for key, obj in then.items() if key[0] is kind}
            try:
                changes = self.store.since(kind, version)
            except StatusError as refused:
                assert refused.code == 410
                assert self.store.version - version > KEEP // 2, "recent changes are kept"
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
    def pages(self, kind: Kind) -> None:
        """Page by page one gets the same as at once."""
        whole = self.store.page(kind)
        found: list[Json] = []
        token = ""
        while True:
            part = self.store.page(kind, limit=1, token=token)
            found += part.items
            token = part.token
            if not token:
                break
        assert found == list(whole.items)

    @rule()
    def restart(self) -> None:
        """Opening the file again loses nothing and forgets no version."""
        self.store.close()
        self.store = Store(self.directory / "engine.db", keep_changes=KEEP)
        assert self.store.version == self.version

    @invariant()
    def agrees(self) -> None:
        """What can be read is what was written."""
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
