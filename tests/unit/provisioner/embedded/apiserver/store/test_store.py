"""What the store promises beside the API's semantics."""

import sqlite3
import threading
from pathlib import Path

import pytest

from provisioner.embedded.apiserver.store.database import UnreadableStoreError
from provisioner.embedded.apiserver.store.errors import StatusError
from provisioner.embedded.apiserver.store.origins import Origins
from provisioner.embedded.apiserver.store.store import Store
from provisioner.model.kinds import CLAIM, EVENT, LEASE, NAMESPACE, STORAGE_CLASS


class Clock(Origins):
    """A clock that a test moves."""

    hours = 0

    def now(self, *, later: float = 0) -> str:
        """So many hours after midnight."""
        return f"2026-01-01T{self.hours + int(later // 3600):02d}:00:00Z"


def test_the_first_namespaces_are_there_and_stay(tmp_path: Path) -> None:
    """A new store has default and kube-system, made once, and nobody deletes them."""
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
def test_old_changes_are_forgotten_for_good(tmp_path: Path) -> None:
    """A watch from before the kept changes is refused with 410, also after a restart; one from after is not."""
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


def test_a_version_of_the_future_is_refused(tmp_path: Path) -> None:
    """A watch from a version that this store never gave has to list anew."""
    store = Store(tmp_path / "engine.db")
    with pytest.raises(StatusError) as refused:
        store.since(LEASE, store.version + 1)
    assert refused.value.code == 410
    store.close()


def test_an_old_continue_token_is_refused(tmp_path: Path) -> None:
    """The rest of a list whose moment is forgotten is refused with 410."""
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
def test_a_file_that_is_no_store_is_named(tmp_path: Path, content: bytes | None) -> None:
    """A broken or newer file is refused in one sentence with its path and a way out."""
    path = tmp_path / "engine.db"
    if content is None:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
    else:
        path.write_bytes(content)
    with pytest.raises(UnreadableStoreError, match=r"engine\.db cannot be used .*move the file away"):
        Store(path)


def test_a_broken_row_is_named(tmp_path: Path) -> None:
    """A row that is no JSON makes the file unreadable instead of an object vanish."""
    path = tmp_path / "engine.db"
    Store(path).close()
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE objects SET body = x'ff'")
    connection.close()
    with pytest.raises(UnreadableStoreError, match="cannot be used"):
        Store(path)


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """Nobody else reads the store."""
    store = Store(tmp_path / "engine.db")
    assert (tmp_path / "engine.db").stat().st_mode & 0o777 == 0o600
    store.close()


def test_a_disk_that_refuses_changes_nothing(tmp_path: Path) -> None:
    """A write that the disk does not take is an InternalError, and neither reads nor versions see it."""
    path = tmp_path / "engine.db"
    store = Store(path)
    version = store.version
    store._database._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StatusError, match="could not be written") as refused:
        store.create(LEASE, "default", {"metadata": {"name": "a"}})
    assert refused.value.code == 500
    store._database._connection.execute("PRAGMA query_only = OFF")
    assert store.version == version
    with pytest.raises(StatusError, match="not found"):
        store.get(LEASE, "default", "a")
    assert store.create(LEASE, "default", {"metadata": {"name": "a"}}).object
    store.close()


def test_many_writers_lose_no_update(tmp_path: Path) -> None:
    """Patches of many threads to one object are all in it."""
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


def test_listeners_hear_of_each_write_until_they_leave(tmp_path: Path) -> None:
    """A listener is called after each write that others can see, and no more once it has left."""
    store = Store(tmp_path / "engine.db")
    synced: list[int] = []
    leave = store.subscribe(lambda: synced.append(store.version))
    store.create(LEASE, "default", {"metadata": {"name": "a"}})
    store.create(LEASE, "default", {"metadata": {"name": "b"}}, dry_run=True)
    leave()
    store.create(LEASE, "default", {"metadata": {"name": "c"}})
    assert synced == [store.version - 1]
    store.close()


def test_events_go_after_an_hour(tmp_path: Path) -> None:
    """Events that nobody repeated for an hour are swept away by later ones."""
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
    """Of several default classes the newest is given, then the first by name."""
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
