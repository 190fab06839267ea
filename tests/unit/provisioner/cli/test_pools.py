"""`mooring pools`: what each pool has, promised, and what takes its space."""

import json

import pytest

from csi.v1 import inventory_pb2
from tests.unit.provisioner.cli.disks import MIB, Disks, disks, golden
from tests.unit.provisioner.controllers.objects import POOL

__all__ = ["disks"]


def _full() -> inventory_pb2.Pool:
    return inventory_pb2.Pool(
        uuid=POOL,
        name="small",
        path="/srv/small",
        capacity_bytes=300 * MIB,
        promised_bytes=240 * MIB,
        available_bytes=60 * MIB,
        trash_bytes=MIB,
        backends=["directory", "loop"],
        used_bytes=7 * MIB + MIB // 2,
        reserved_bytes=232 * MIB + MIB // 2,
    )


@pytest.fixture
def reported(disks: Disks, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[inventory_pb2.Pool]]:
    """One pool of each state, on two nodes."""
    sick = inventory_pb2.Pool(uuid="b", name="sick", path="/srv/sick", capacity_bytes=MIB, available_bytes=MIB)
    sick.used_bytes = sick.reserved_bytes = 0
    sick.issues.append("pool sick: only 5 bytes are free on its disk; free some, or add a pool")
    new = inventory_pb2.Pool(uuid="c", name="new", path="/srv/new", capacity_bytes=MIB, available_bytes=MIB)
    away = inventory_pb2.Pool(name="away", path="/srv/away", problem="/srv/away is not mounted; mount it")
    pools = {"n2": [away, new], "local": [_full(), sick]}

    async def pools_by_node() -> dict[str, list[inventory_pb2.Pool]]:
        return pools

    monkeypatch.setattr(disks.driver, "pools_by_node", pools_by_node)
    return pools


@pytest.mark.usefixtures("reported")
@pytest.mark.parametrize(
    ("words", "name"),
    [(["pools"], "pools.txt"), (["pools", "-o", "wide"], "pools-wide.txt"), (["pools", "-o", "json"], "pools.json")],
)
def test_the_list_is_the_recorded_one(disks: Disks, words: list[str], name: str) -> None:
    """By node and name; what is not known is no number. What is wrong, and what is of no use, stands on stderr."""
    shown = disks.mooring(*words)

    assert (shown.code, shown.out) == (0, golden(name))
    assert "mooring: node n2: /srv/away is not mounted; mount it\n" in shown.err
    assert "mooring: node local: pool sick: only 5 bytes are free" in shown.err
    assert "pool small on node local: 160Mi are reserved for volumes without a PersistentVolume (2)" in shown.err
    assert "mooring volumes --orphans" in shown.err


def test_the_table_fits_a_terminal(disks: Disks, reported: dict[str, list[inventory_pb2.Pool]]) -> None:
    """With names of a usual length."""
    del reported["n2"]
    assert max(map(len, disks.mooring("pools").out.splitlines())) <= 80


def test_without_any_pool_it_says_how_to_make_one(disks: Disks, reported: dict[str, list[inventory_pb2.Pool]]) -> None:
    """An empty list stays a list for programs."""
    reported.clear()
    shown = disks.mooring("pools", "-o", "json")

    assert (shown.code, json.loads(shown.out)) == (0, [])
    assert "mooring pool init" in shown.err
