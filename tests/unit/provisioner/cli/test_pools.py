"""`mooring pools`: size, allocated and used bytes of each pool."""

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
        allocated_bytes=240 * MIB,
        available_bytes=60 * MIB,
        trash_bytes=MIB,
        backends=["directory", "loop"],
        used_bytes=7 * MIB + MIB // 2,
        reserved_bytes=232 * MIB + MIB // 2,
    )


@pytest.fixture
def reported(disks: Disks, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[inventory_pb2.Pool]]:
    """Return one pool of each state, on two nodes, by node."""
    degraded = inventory_pb2.Pool(uuid="b", name="sick", path="/srv/sick", capacity_bytes=MIB, available_bytes=MIB)
    degraded.used_bytes = degraded.reserved_bytes = 0
    degraded.issues.append("pool sick: only 5 bytes are free on its disk; free some, or add a pool")
    new = inventory_pb2.Pool(uuid="c", name="new", path="/srv/new", capacity_bytes=MIB, available_bytes=MIB)
    unavailable = inventory_pb2.Pool(name="away", path="/srv/away", problem="/srv/away is not mounted; mount it")
    pools = {"n2": [unavailable, new], "local": [_full(), degraded]}

    async def pools_by_node() -> dict[str, list[inventory_pb2.Pool]]:
        return pools

    monkeypatch.setattr(disks.driver, "pools_by_node", pools_by_node)
    return pools


@pytest.mark.usefixtures("reported")
@pytest.mark.parametrize(
    ("arguments", "name"),
    [(["pools"], "pools.txt"), (["pools", "-o", "wide"], "pools-wide.txt"), (["pools", "-o", "json"], "pools.json")],
)
def test_the_list_is_the_recorded_one(disks: Disks, arguments: list[str], name: str) -> None:
    """Pools are sorted by node and name; unknown sizes are "-" or null. Issues and orphans are on stderr."""
    result = disks.mooring(*arguments)

    assert (result.code, result.out) == (0, golden(name))
    assert "mooring: node n2: /srv/away is not mounted; mount it\n" in result.err
    assert "mooring: node local: pool sick: only 5 bytes are free" in result.err
    assert "pool small on node local: 160Mi are reserved for volumes without a PersistentVolume (2)" in result.err
    assert "mooring volumes --orphans" in result.err


def test_the_table_fits_a_terminal(disks: Disks, reported: dict[str, list[inventory_pb2.Pool]]) -> None:
    """The table has at most 80 columns with names of usual length."""
    del reported["n2"]
    assert max(map(len, disks.mooring("pools").out.splitlines())) <= 80


def test_without_any_pool_it_prints_how_to_create_one(
    disks: Disks, reported: dict[str, list[inventory_pb2.Pool]]
) -> None:
    """The data output is an empty list."""
    reported.clear()
    result = disks.mooring("pools", "-o", "json")

    assert (result.code, json.loads(result.out)) == (0, [])
    assert "mooring pool init" in result.err
