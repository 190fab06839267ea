"""No pool reserves more than it has (I4), also after a crash, a failure or a restart."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csi.backends.protocol import HealthIssue
from csi.errors import (
    AlreadyExists,
    FailedPrecondition,
    Internal,
    NotFound,
    OutOfRange,
    ResourceExhausted,
)
from csi.host.errors import HostError, ImageLockedError, NoSpaceError
from csi.volumes import manifest as manifests
from csi.volumes.requests import Expanding
from tests.unit.csi.volumes.fake_backend import creation, manager_of

MIB = 1 << 20
CAPACITY = 10 * MIB

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), st.sampled_from("abcdef"), st.integers(1, 12)),
        st.tuples(st.just("delete"), st.sampled_from("abcdef"), st.just(0)),
        st.tuples(st.just("undelete"), st.sampled_from("abcdef"), st.just(0)),
        st.tuples(st.just("grow"), st.sampled_from("abcdef"), st.integers(1, 12)),
        st.tuples(st.just("restart"), st.just("a"), st.just(0)),
    ),
    max_size=25,
)


@given(OPERATIONS)
@settings(max_examples=60, deadline=None)
def test_reservations_never_exceed_the_capacity(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, str, int]]
) -> None:
    """I4: for any sequence of creations, expansions, deletions and restarts, also concurrent ones."""
    pool = tmp_path_factory.mktemp("pool") / "p"

    async def live() -> None:
        manager, _ = manager_of(pool, capacity=CAPACITY)
        the_pool = manager.catalog.pools[0]
        handles: dict[str, str] = {}
        for verb, name, size in operations:
            if verb == "restart":
                await manager.stop()
                manager, _ = manager_of(pool)
                the_pool = manager.catalog.pools[0]
            elif verb == "create":
                requests = [creation(name, size * MIB), creation(f"{name}{name}", size * MIB)]
                for entry in await asyncio.gather(*map(manager.create, requests), return_exceptions=True):
                    if isinstance(entry, BaseException):
                        assert isinstance(entry, ResourceExhausted | OutOfRange | AlreadyExists), entry
                    else:
                        handles[entry.manifest.name] = entry.manifest.handle
            elif name in handles and verb == "delete":
                await manager.delete(handles[name])
            elif name in handles and verb == "grow":
                growing = [manager.expand(Expanding(handle, size * MIB, 0)) for handle in handles.values()]
                for entry in await asyncio.gather(*growing, return_exceptions=True):
                    if isinstance(entry, BaseException):
                        assert isinstance(entry, ResourceExhausted | OutOfRange | NotFound), entry
                    else:
                        assert entry.manifest.size_bytes >= size * MIB
            elif name in handles:
                try:
                    await manager.undelete(handles[name])
                except (ResourceExhausted, AlreadyExists, NotFound):
                    continue
            assert manager.ledger.allocated(the_pool) <= CAPACITY
            assert manager.ledger.allocated(the_pool) == sum(each.manifest.size_bytes for each in manager.catalog.all())
        await manager.stop()

    asyncio.run(live())


async def test_what_can_never_fit_is_out_of_range_and_what_does_not_fit_now_is_exhausted(tmp_path: Path) -> None:
    """Callers handle the two codes differently."""
    manager, _ = manager_of(tmp_path / "p", capacity=CAPACITY)
    await manager.create(creation("a", 8 * MIB))

    with pytest.raises(OutOfRange, match="in all"):
        await manager.create(creation("b", 11 * MIB))
    with pytest.raises(ResourceExhausted, match="delete volumes"):
        await manager.create(creation("b", 3 * MIB))
    await manager.stop()


async def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """RESOURCE_EXHAUSTED means that there is no such volume."""
    manager, backend = manager_of(tmp_path / "p", capacity=CAPACITY)
    backend.no_space = 2

    with pytest.raises(ResourceExhausted, match="disk"):
        await manager.create(creation("a"))

    assert list((tmp_path / "p" / "volumes").iterdir()) == []
    assert manager.ledger.allocated(manager.catalog.pools[0]) == 0
    await manager.stop()


async def test_an_interrupted_creation_is_finished_by_the_retry(tmp_path: Path) -> None:
    """Its bytes are reserved meanwhile, also after a restart."""
    manager, backend = manager_of(tmp_path / "p", capacity=CAPACITY)
    backend.allowed.clear()
    task = asyncio.create_task(manager.create(creation("a", 8 * MIB)))
    while not backend.started.is_set():
        await asyncio.sleep(0.01)
    again, _ = manager_of(tmp_path / "p")  # as after a kill -9: the disk is all that is known

    assert again.ledger.allocated(again.catalog.pools[0]) == 8 * MIB
    with pytest.raises(ResourceExhausted):
        await again.create(creation("b", 3 * MIB))
    entry = await again.create(creation("a", 8 * MIB))
    assert entry.manifest.state == "ready"
    backend.allowed.set()
    await task
    for each in (manager, again):
        await each.stop()


async def test_the_owner_records_survive_a_restart(tmp_path: Path) -> None:
    """The owner and the former owners of a volume are in its manifest, oldest first."""
    manager, _ = manager_of(tmp_path / "p", capacity=CAPACITY)
    entry = await manager.create(creation("a", MIB, **{"mooring.dev/claim-uid": "1"}))
    for uid in ("2", "2", "3"):
        await manager.record_holder(entry.manifest.handle, {"mooring.dev/claim-uid": uid})
    await manager.stop()
    again, _ = manager_of(tmp_path / "p")
    manifest = again.find(entry.manifest.handle).manifest

    assert manifest.holder is not None
    assert manifest.holder.labels == {"mooring.dev/claim-uid": "3"}
    assert [each.labels["mooring.dev/claim-uid"] for each in manifest.ledger] == ["1", "2"]
    await again.stop()


def test_nothing_in_a_pool_is_readable_by_other_users(tmp_path: Path) -> None:
    """Directories are 0700, files 0600: only a mount gives access to a volume's data."""

    async def live() -> None:
        manager, _ = manager_of(tmp_path / "p", capacity=CAPACITY)
        await manager.create(creation("a"))
        await manager.stop()

    before = os.umask(0)
    try:
        asyncio.run(live())
    finally:
        os.umask(before)
    ours = [tmp_path / "p" / "volumes", tmp_path / "p" / "trash", *(tmp_path / "p" / "volumes").glob("*")]
    ours += [tmp_path / "p" / "pool.json", *(tmp_path / "p" / "volumes").glob("*/manifest.json")]
    assert [path for path in ours if path.stat().st_mode & 0o077] == []


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), HostError("no"), NoSpaceError("full")])
async def test_a_disk_that_fails_while_a_volume_is_created_keeps_no_bytes_reserved(
    tmp_path: Path, error: Exception
) -> None:
    """For any exception of the backend: no entry and no directory is left, and the next volume can use the whole pool."""
    manager, backend = manager_of(tmp_path / "p", capacity=CAPACITY)
    backend.fails = error
    with pytest.raises((Internal, ResourceExhausted)):
        await manager.create(creation("a", CAPACITY))
    backend.fails = None

    assert (manager.catalog.all(), list((tmp_path / "p" / "volumes").iterdir())) == ([], [])
    await manager.create(creation("b", CAPACITY))
    await manager.stop()


async def test_a_volume_that_lost_data_is_not_expanded(tmp_path: Path) -> None:
    """Expanding would fill the lost end with zeros and clear the alarm; an interrupted expansion is given up, too."""
    manager, backend = manager_of(tmp_path / "p", capacity=CAPACITY)
    entry = await manager.create(creation("a", MIB))
    backend.issues = [HealthIssue("DATA_LOSS", "ImageTruncated", "its end is gone")]
    with pytest.raises(FailedPrecondition, match="its end is gone"):
        await manager.expand(Expanding(entry.manifest.handle, 2 * MIB, 0))
    manifests.write(entry.volume_dir, msgspec.structs.replace(entry.manifest, grows_to=2 * MIB))
    await manager.stop()

    again, backend = manager_of(tmp_path / "p")
    backend.issues = [HealthIssue("DATA_LOSS", "ImageTruncated", "its end is gone")]
    await again.finish_interrupted()
    manifest = again.find(entry.manifest.handle).manifest
    assert (manifest.size_bytes, manifest.grows_to) == (MIB, 0)
    await again.stop()


async def test_an_image_that_another_process_uses_is_retried_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it ends, creation and expansion are refused; nothing is undone, and interrupted work is not given up."""
    manager, backend = manager_of(tmp_path / "p", capacity=CAPACITY)
    backend.fails = ImageLockedError("a former driver's program")
    with pytest.raises(ImageLockedError):
        await manager.create(creation("a", MIB))
    backend.fails = None
    entry = await manager.create(creation("a", MIB))

    def locked(*_: object) -> None:
        raise ImageLockedError("a former driver's program")

    with monkeypatch.context() as held:
        held.setattr(backend, "expand", locked)
        with pytest.raises(ImageLockedError):
            await manager.expand(Expanding(entry.manifest.handle, 2 * MIB, 0))
        assert entry.manifest.allocated_bytes == MIB
        entry.manifest = msgspec.structs.replace(entry.manifest, grows_to=2 * MIB)
        await manager.finish_interrupted()
        assert entry.manifest.grows_to == 2 * MIB
    await manager.finish_interrupted()
    assert (entry.manifest.size_bytes, entry.manifest.grows_to) == (2 * MIB, 0)
    await manager.stop()
