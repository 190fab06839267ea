"""No pool promises more than it has (I4); deleting is undoable until the purge, and the purge only takes what it may."""

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csi.engine.requests import Enlarging
from csi.engine.trash import PURGING
from csi.errors import AlreadyExists, NotFound, OutOfRange, ResourceExhausted
from tests.unit.engine.engines import creation, engine_of

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
def test_promises_never_exceed_the_capacity(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, str, int]]
) -> None:
    """I4: whatever is created, grown, deleted or restarted; many at once promise no more than one by one."""
    pool = tmp_path_factory.mktemp("pool") / "p"

    async def live() -> None:
        engine, _ = engine_of(pool, capacity=CAPACITY)
        the_pool = engine.catalog.pools[0]
        handles: dict[str, str] = {}
        for verb, name, size in operations:
            if verb == "restart":
                await engine.stop()
                engine, _ = engine_of(pool)
                the_pool = engine.catalog.pools[0]
            elif verb == "create":
                requests = [creation(name, size * MIB), creation(f"{name}{name}", size * MIB)]
                for entry in await asyncio.gather(*map(engine.create, requests), return_exceptions=True):
                    if isinstance(entry, BaseException):
                        assert isinstance(entry, ResourceExhausted | OutOfRange | AlreadyExists), entry
                    else:
                        handles[entry.manifest.name] = entry.manifest.handle
            elif name in handles and verb == "delete":
                await engine.delete(handles[name])
            elif name in handles and verb == "grow":
                growing = [engine.enlarge(Enlarging(handle, size * MIB, 0)) for handle in handles.values()]
                for entry in await asyncio.gather(*growing, return_exceptions=True):
                    if isinstance(entry, BaseException):
                        assert isinstance(entry, ResourceExhausted | OutOfRange | NotFound), entry
                    else:
                        assert entry.manifest.size_bytes >= size * MIB
            elif name in handles:
                try:
                    await engine.undelete(handles[name])
                except (ResourceExhausted, AlreadyExists, NotFound):
                    continue
            assert engine.ledger.promised(the_pool) <= CAPACITY
            assert engine.ledger.promised(the_pool) == sum(each.manifest.size_bytes for each in engine.catalog.all())
        await engine.stop()

    asyncio.run(live())


async def test_what_can_never_fit_is_out_of_range_and_what_does_not_fit_now_is_exhausted(tmp_path: Path) -> None:
    """Callers do different things with the two."""
    engine, _ = engine_of(tmp_path / "p", capacity=CAPACITY)
    await engine.create(creation("a", 8 * MIB))

    with pytest.raises(OutOfRange, match="in all"):
        await engine.create(creation("b", 11 * MIB))
    with pytest.raises(ResourceExhausted, match="delete volumes"):
        await engine.create(creation("b", 3 * MIB))
    await engine.stop()


async def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """The caller may count on it: RESOURCE_EXHAUSTED means that there is no such volume."""
    engine, paper = engine_of(tmp_path / "p", capacity=CAPACITY)
    paper.no_space = 2

    with pytest.raises(ResourceExhausted, match="disk"):
        await engine.create(creation("a"))

    assert list((tmp_path / "p" / "volumes").iterdir()) == []
    assert engine.ledger.promised(engine.catalog.pools[0]) == 0
    await engine.stop()


async def test_trash_makes_room_oldest_first_when_the_disk_is_full(tmp_path: Path) -> None:
    """Trash counts as free, so a promise may need it."""
    engine, paper = engine_of(tmp_path / "p", capacity=CAPACITY)
    for number, name in enumerate(("old", "new")):
        entry = await engine.create(creation(name, MIB))
        await engine.delete(entry.manifest.handle)
        (trashed,) = [each for each in (tmp_path / "p" / "trash").iterdir() if each.name.startswith(name)]
        trashed.rename(trashed.with_name(f"{name}.{1000 + number}"))
    paper.no_space = 1

    await engine.create(creation("a", 65536))

    assert [each.manifest.name for each in await engine.trash.all()] == ["new"]
    await engine.stop()


async def test_trash_is_purged_when_its_time_is_over_and_not_before(tmp_path: Path) -> None:
    """Each volume has a retention of its own."""
    engine, _ = engine_of(tmp_path / "p", capacity=CAPACITY)
    for name, kept in (("short", "0s"), ("long", "24h")):
        entry = await engine.create(creation(name, MIB, trashRetention=kept))
        await engine.delete(entry.manifest.handle)

    assert await engine.trash.purge_expired() == 1
    assert [each.manifest.name for each in await engine.trash.all()] == ["long"]
    await engine.stop()


async def test_a_purge_that_was_cut_off_is_finished_and_never_undone(tmp_path: Path) -> None:
    """Half a volume must not come back as a whole one."""
    engine, _ = engine_of(tmp_path / "p", capacity=CAPACITY)
    entry = await engine.create(creation("a"))
    await engine.delete(entry.manifest.handle)
    (trashed,) = (tmp_path / "p" / "trash").iterdir()
    trashed.rename(trashed.with_name(PURGING + trashed.name))

    with pytest.raises(NotFound):
        await engine.undelete(entry.manifest.handle)
    await engine.trash.purge_expired()
    assert list((tmp_path / "p" / "trash").iterdir()) == []
    await engine.stop()


async def test_a_purge_follows_no_link(tmp_path: Path) -> None:
    """Whatever a tenant put into the volume."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x", encoding="utf-8")
    engine, _ = engine_of(tmp_path / "p", capacity=CAPACITY)
    entry = await engine.create(creation("a"))
    (entry.home / "link").symlink_to(outside)
    (entry.home / "deep" / "er").mkdir(parents=True)
    (entry.home / "deep" / "er" / "up").symlink_to("../../../../..")
    await engine.delete(entry.manifest.handle)

    assert await engine.trash.purge() == 1
    assert (outside / "precious").exists()
    await engine.stop()


async def test_a_volume_whose_making_was_cut_off_is_finished_by_the_retry(tmp_path: Path) -> None:
    """Its promise counts meanwhile, also after a restart."""
    engine, paper = engine_of(tmp_path / "p", capacity=CAPACITY)
    paper.may_go.clear()
    task = asyncio.create_task(engine.create(creation("a", 8 * MIB)))
    while not paper.started.is_set():
        await asyncio.sleep(0.01)
    again, _ = engine_of(tmp_path / "p")  # as after a kill -9: the disk is all that is known

    assert again.ledger.promised(again.catalog.pools[0]) == 8 * MIB
    with pytest.raises(ResourceExhausted):
        await again.create(creation("b", 3 * MIB))
    entry = await again.create(creation("a", 8 * MIB))
    assert entry.manifest.state == "ready"
    paper.may_go.set()
    await task
    for each in (engine, again):
        await each.stop()


async def test_the_ledger_of_holders_survives(tmp_path: Path) -> None:
    """Who held a volume, and who before: in the manifest, oldest first."""
    engine, _ = engine_of(tmp_path / "p", capacity=CAPACITY)
    entry = await engine.create(creation("a", MIB, **{"mooring.dev/claim-uid": "1"}))
    for uid in ("2", "2", "3"):
        await engine.record_holder(entry.manifest.handle, {"mooring.dev/claim-uid": uid})
    await engine.stop()
    again, _ = engine_of(tmp_path / "p")
    manifest = again.find(entry.manifest.handle).manifest

    assert manifest.holder is not None
    assert manifest.holder.labels == {"mooring.dev/claim-uid": "3"}
    assert [each.labels["mooring.dev/claim-uid"] for each in manifest.ledger] == ["1", "2"]
    await again.stop()


def test_nothing_in_a_pool_is_open_to_others(tmp_path: Path) -> None:
    """Directories 0700, files 0600: a volume's data is for whoever mounts it."""

    async def live() -> None:
        engine, _ = engine_of(tmp_path / "p", capacity=CAPACITY)
        await engine.create(creation("a"))
        await engine.stop()

    before = os.umask(0)
    try:
        asyncio.run(live())
    finally:
        os.umask(before)
    ours = [tmp_path / "p" / "volumes", tmp_path / "p" / "trash", *(tmp_path / "p" / "volumes").glob("*")]
    ours += [tmp_path / "p" / "pool.json", *(tmp_path / "p" / "volumes").glob("*/manifest.json")]
    assert [path for path in ours if path.stat().st_mode & 0o077] == []
