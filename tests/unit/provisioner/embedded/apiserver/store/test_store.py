"""Behaviour of the store beyond the contract: persistence, history, threads and defaults."""

import sqlite3
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from provisioner.embedded.apiserver.store.database import UnreadableStoreError
from provisioner.embedded.apiserver.store.errors import StatusError
from provisioner.embedded.apiserver.store.origins import Origins
from provisioner.embedded.apiserver.store.store import Store
from provisioner.model.kinds import CLAIM, EVENT, LEASE, NAMESPACE, STORAGE_CLASS


class Clock(Origins):
    """A clock that a test sets."""

    hours = 0

    def now(self, *, later: float = 0) -> str:
        """Return the time `hours` hours after midnight, plus `later` seconds."""
        return f"2026-01-01T{self.hours + int(later // 3600):02d}:00:00Z"


def test_the_first_namespaces_exist_and_cannot_be_deleted(tmp_path: Path) -> None:
    """A new store has default and kube-system, which are created once and cannot be deleted."""
    path = tmp_path / "engine.db"
    store = Store(path)
    uid = store.get(NAMESPACE, "", "default")["metadata"]["uid"]
    assert store.get(NAMESPACE, "", "kube-system")["status"] == {"phase": "Active"}
    with pytest.raises(StatusError, match="may not be deleted"):
        store.delete(NAMESPACE, "", "default")
    store.close()
    again = Store(path)
    assert again.get(NAMESPACE, "", "default")["metadata"]["uid"] == uid
    again.close()


@pytest.mark.bound("changes")
def test_dropped_changes_stay_dropped(tmp_path: Path) -> None:
    """A watch from before the retained changes is refused with 410, also after a restart; a later one is not."""
    path = tmp_path / "engine.db"
    store = Store(path, keep_changes=4)
    first = store.version
    for number in range(8):
        store.create(LEASE, "default", {"metadata": {"name": f"l{number}"}})
    for _ in range(2):
        with pytest.raises(StatusError, match="too old resource version") as refused:
            store.since(LEASE, first)
        assert (refused.value.code, refused.value.reason) == (410, "Expired")
        assert [change.key[1] for change in store.since(LEASE, store.version - 3)] == ["l5", "l6", "l7"]
        store.close()
        store = Store(path, keep_changes=4)
    store.close()


def test_a_watch_from_a_future_version_is_refused(tmp_path: Path) -> None:
    """A watch from a version that the store has not reached is refused with 410, so that the client lists again."""
    store = Store(tmp_path / "engine.db")
    with pytest.raises(StatusError) as refused:
        store.since(LEASE, store.version + 1)
    assert refused.value.code == 410
    store.close()


def test_an_old_continue_token_is_refused(tmp_path: Path) -> None:
    """The next page of a list whose version is no longer retained is refused with 410."""
    store = Store(tmp_path / "engine.db", keep_changes=4)
    for name in ("a", "b", "c"):
        store.create(LEASE, "default", {"metadata": {"name": name}})
    token = store.page(LEASE, limit=1).token
    for number in range(8):
        store.create(LEASE, "default", {"metadata": {"name": f"l{number}"}})
    with pytest.raises(StatusError, match="continue parameter is too old") as refused:
        store.page(LEASE, limit=1, token=token)
    assert refused.value.code == 410
    store.close()


@pytest.mark.parametrize("content", [b"this is no database at all, but long enough to look at" * 40, None])
def test_an_unreadable_file_is_reported(tmp_path: Path, content: bytes | None) -> None:
    """A damaged or newer file is refused with a message that has its path and what to do."""
    path = tmp_path / "engine.db"
    if content is None:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
    else:
        path.write_bytes(content)
    with pytest.raises(UnreadableStoreError, match=r"engine\.db cannot be used .*move the file away"):
        Store(path)


def test_a_damaged_row_is_reported(tmp_path: Path) -> None:
    """A row that is not JSON makes the file unreadable; the object is not silently lost."""
    path = tmp_path / "engine.db"
    Store(path).close()
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE objects SET body = x'ff'")
    connection.close()
    with pytest.raises(UnreadableStoreError, match="cannot be used"):
        Store(path)


def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    """The file has mode 0600."""
    store = Store(tmp_path / "engine.db")
    assert (tmp_path / "engine.db").stat().st_mode & 0o777 == 0o600
    store.close()


def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    """
    A write that fails on disk is an InternalError, and changes neither objects nor the version.

    It is no bug: the log has the reason and no traceback.
    """
    path = tmp_path / "engine.db"
    store = Store(path)
    version = store.version
    store._database._connection.execute("PRAGMA query_only = ON")
    with capture_logs() as logged, pytest.raises(StatusError, match="could not be written") as refused:
        store.create(LEASE, "default", {"metadata": {"name": "a"}})
    (entry,) = logged
    assert (entry["event"], "readonly" in entry["error"], entry["exc_info"]) == ("store.write_failed", True, None)
    assert refused.value.code == 500
    store._database._connection.execute("PRAGMA query_only = OFF")
    assert store.version == version
    with pytest.raises(StatusError, match="not found"):
        store.get(LEASE, "default", "a")
    assert store.create(LEASE, "default", {"metadata": {"name": "a"}}).object
    store.close()


def test_concurrent_writers_lose_no_update(tmp_path: Path) -> None:
    """An object has the changes of all threads that patched it."""
    store = Store(tmp_path / "engine.db")
    store.create(LEASE, "default", {"metadata": {"name": "a"}})

    def write(number: int) -> None:
        for step in range(5):
            label = {f"l{number}-{step}": "x"}
            store.change(
                LEASE,
                "default",
                "a",
                lambda old, label=label: {  # type: ignore[misc]
                    **old,
                    "metadata": {**old["metadata"], "labels": {**old["metadata"].get("labels", {}), **label}},
                },
            )

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.get(LEASE, "default", "a")["metadata"]["labels"]) == 30
    store.close()


def test_a_listener_is_called_until_it_unsubscribes(tmp_path: Path) -> None:
    """A listener is called after each visible write, and no longer once it is unsubscribed."""
    store = Store(tmp_path / "engine.db")
    synced: list[int] = []
    unsubscribe = store.subscribe(lambda: synced.append(store.version))
    store.create(LEASE, "default", {"metadata": {"name": "a"}})
    store.create(LEASE, "default", {"metadata": {"name": "b"}}, dry_run=True)
    unsubscribe()
    store.create(LEASE, "default", {"metadata": {"name": "c"}})
    assert synced == [store.version - 1]
    store.close()


def test_events_are_deleted_after_an_hour(tmp_path: Path) -> None:
    """Events that were not repeated within an hour are deleted when later ones are created."""
    clock = Clock()
    store = Store(tmp_path / "engine.db", origins=clock)

    def event(name: str) -> None:
        about = {"involvedObject": {"namespace": "default", "name": "x"}}
        store.create(EVENT, "default", {"metadata": {"name": name}, **about})

    event("old")
    clock.hours = 3
    for number in range(63):
        event(f"new-{number}")
    names = {item["metadata"]["name"] for item in store.page(EVENT).items}
    assert "old" not in names
    assert len(names) == 63
    store.close()


def test_the_default_class_is_the_newest(tmp_path: Path) -> None:
    """Of several default classes a claim gets the newest, of equally new ones the first by name."""
    clock = Clock()
    store = Store(tmp_path / "engine.db", origins=clock)
    for hour, name in ((1, "old"), (2, "b"), (2, "a"), (3, "unmarked")):
        clock.hours = hour
        mark = {} if name == "unmarked" else {"storageclass.kubernetes.io/is-default-class": "true"}
        store.create(STORAGE_CLASS, "", {"metadata": {"name": name, "annotations": mark}, "provisioner": "p"})
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = store.create(CLAIM, "default", {"metadata": {"name": "c"}, "spec": spec}).object
    assert claim["spec"]["storageClassName"] == "a"
    store.close()
