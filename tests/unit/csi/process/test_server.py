"""The driver as a process: its start, its memory, and crashes."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from csi.v1 import csi_pb2, inventory_pb2
from csi.volumes.pools import make_pool
from tests.conftest import ROOT
from tests.sweeps import SEED, times
from tests.unit.csi.services.driver import SECONDS, Driver, running
from tests.until import until

pytestmark = pytest.mark.process

POOL_INIT = ("pool-init", "POOL", "--name", "p")
GOOD = ("--endpoint", "unix://DIR/csi.sock", "--node-id", "n", "--pool", "POOL")

BAD: dict[str, tuple[tuple[str, ...], int, str]] = {
    # case: (arguments, exit code, part of the message)
    "unknown flag": (("--frob",), 2, "No such option"),
    "no endpoint": (("--node-id", "n", "--pool", "POOL"), 2, "--endpoint"),
    "no node": (("--endpoint", "unix://DIR/csi.sock", "--pool", "POOL"), 2, "--node-id"),
    "no pool": (("--endpoint", "unix://DIR/csi.sock", "--node-id", "n"), 2, "--pool"),
    "not a unix socket": (("--endpoint", "tcp://1.2.3.4:5", "--node-id", "n", "--pool", "POOL"), 2, "unix:///path"),
    "socket path too long": (("--endpoint", f"unix:///{'x' * 120}.sock", "--node-id", "n", "--pool", "POOL"), 2, "107 bytes"),
    "workers out of range": ((*GOOD, "--workers", "0"), 2, "not in the range"),
    "pool missing": (GOOD, 78, "is not a pool; create one with: mooring pool init"),
    "socket directory cannot be created": (("--endpoint", "unix:///proc/x/csi.sock", "--node-id", "n", "--pool", "POOL"), 78, "socket's directory"),
    "directory of the new pool is missing": ((*POOL_INIT, "--no-create"), 78, "does not exist; mount the disk there, correct the path, or give --create"),
    "capacity is not a size": ((*POOL_INIT, "--capacity", "lots"), 2, "500Mi"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_start_ends_with_its_exit_code_and_one_line(tmp_path: Path, case: str) -> None:
    """Exit code 2 for flags, 78 for the environment; never a traceback."""
    arguments, code, message = BAD[case]
    filled = [each.replace("POOL", str(tmp_path / "pool")).replace("DIR", str(tmp_path)) for each in arguments]
    done = subprocess.run([sys.executable, "-m", "csi", *filled], capture_output=True, text=True, cwd=ROOT, check=False)

    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("mooring driver: ")


def test_without_any_disk_of_its_pools_the_driver_serves_the_pools_of_a_folder(tmp_path: Path) -> None:
    """The disks may come later; a wrong path ends the start only where there is no folder."""
    folder = tmp_path / "pools"
    folder.mkdir()
    make_pool(folder / "good", name="good", capacity_bytes=None, known={})
    driver = Driver(tmp_path, f"--pool={tmp_path}/away", f"--pools-in={folder}")
    driver.pool.rmdir()
    driver.start()
    try:
        request = inventory_pb2.ListPoolsRequest()

        def healthy() -> list[inventory_pb2.Pool]:
            return [each for each in driver.inventory.ListPools(request, timeout=SECONDS).pools if not each.problem]

        (served,) = until(healthy, "the pool of the folder is served", pause=0.05)
        assert driver.create(pool="good").volume_id.startswith(served.uuid)
        listed = driver.inventory.ListPools(request, timeout=SECONDS).pools
        problems = " ".join(each.problem for each in listed)
        assert [path for path in (driver.pool, tmp_path / "away") if str(path) not in problems] == []
    finally:
        assert driver.end() == 0


def test_a_second_driver_on_one_socket_is_refused_and_a_stale_socket_is_not(driver: Driver) -> None:
    """A running driver accepts connections; the socket of a killed one is removed."""
    argv = [
        sys.executable,
        "-m",
        "csi",
        f"--endpoint=unix://{driver.home}/csi.sock",
        "--node-id=n",
        f"--pool={driver.pool}",
    ]
    second = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (second.returncode, "another driver serves" in second.stderr) == (78, True)

    driver.end(signal.SIGKILL)
    assert (driver.home / "csi.sock").exists()
    driver.start()
    assert driver.identity.Probe(csi_pb2.ProbeRequest(), timeout=SECONDS).ready.value


def test_the_driver_ends_with_its_parent(tmp_path: Path) -> None:
    """It ends when the other end of the lifeline closes, for any end of the parent."""
    (tmp_path / "pool").mkdir()
    reads, writes = os.pipe()
    argv = [
        sys.executable,
        "-m",
        "csi",
        f"--endpoint=unix://{tmp_path}/csi.sock",
        "--node-id=n",
        f"--pool={tmp_path}/pool",
    ]
    process = subprocess.Popen(
        [*argv, "--init-empty-pools", f"--lifeline-fd={reads}"], cwd=ROOT, pass_fds=[reads], stderr=subprocess.DEVNULL
    )
    os.close(reads)
    while not (tmp_path / "csi.sock").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.close(writes)

    assert process.wait(SECONDS) == 0


def test_the_driver_stays_small_and_loads_no_library_of_the_control_plane(driver: Driver) -> None:
    """Under 60 MiB resident when idle."""
    status = Path(f"/proc/{driver.pid}/status").read_text(encoding="utf-8")
    resident = int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])
    code = (
        "import sys, csi.process.server; "
        "print([x for x in ('kubernetes', 'aiohttp', 'provisioner', 'cryptography', 'pydantic') if x in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout

    assert resident < 60 * 1024
    assert loaded.strip() == "[]"


def test_only_its_owner_can_use_the_socket(driver: Driver) -> None:
    """A client of the socket can delete volumes."""
    assert (driver.home / "csi.sock").stat().st_mode & 0o077 == 0


@pytest.mark.needs("root", "loop")
@pytest.mark.parametrize("backend", ["directory", "loop"])
@pytest.mark.timeout(600)
def test_a_retry_after_sigkill_at_any_moment_converges(tmp_path: Path, backend: str) -> None:
    """I5: acknowledged results last, and the retry finishes interrupted calls; I6: at the end nothing is left."""
    rng = random.Random(f"{SEED} {backend}")  # noqa: S311 # repeatable
    with running(tmp_path) as driver:
        for number in range(times(3)):
            handle = ""
            for step in ("create", "stage", "publish", "unpublish", "unstage", "delete"):
                handle = _retried(driver, step, f"v{number}", handle, backend, rng)
        assert list((driver.pool / "volumes").iterdir()) == []
        driver.inventory.Purge(inventory_pb2.PurgeRequest(all=True), timeout=SECONDS)
        assert list((driver.pool / "trash").iterdir()) == []
        assert str(driver.pool) not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")


def _retried(driver: Driver, step: str, name: str, handle: str, backend: str, rng: random.Random) -> str:
    """Kill the driver during the step, start it again, and complete the step."""
    killer = threading.Timer(rng.random() * 0.03, os.kill, (driver.pid, signal.SIGKILL))
    killer.start()
    while True:
        try:
            result = _step(driver, step, name, handle, backend)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE, (step, error.details())
        else:
            killer.join()
            repeated = _repeat(driver, step, name, result, backend)
            assert repeated == result
            return result
        killer.join()
        _restart(driver)


def _repeat(driver: Driver, step: str, name: str, handle: str, backend: str) -> str:
    """Repeat the step on a running driver: it was acknowledged, so it must succeed."""
    while True:
        try:
            return _step(driver, step, name, handle, backend)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE, (step, error.details())
            _restart(driver)


def _restart(driver: Driver) -> None:
    driver.end(signal.SIGKILL)
    driver.start()


def _step(driver: Driver, step: str, name: str, handle: str, backend: str) -> str:
    target = driver.home / f"target-{handle.partition('.')[2]}"
    if step == "create":
        return driver.create(name, size=8 << 20, backend=backend).volume_id
    if step == "unpublish":
        driver.unpublish(handle, target)
    elif step == "unstage":
        driver.unstage(handle)
    else:
        steps: dict[str, Callable[[str], object]] = {
            "stage": driver.stage,
            "publish": driver.publish,
            "delete": driver.delete,
        }
        steps[step](handle)
    if step == "publish":
        (target / "file").write_text(name, encoding="utf-8")
    return handle
