"""Kubelet finds the driver after every result of a registration and every change to kubelet's directory."""

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csi.v1 import csi_pb2
from tests.conftest import ROOT
from tests.unit.csi.services.driver import SECONDS, Driver, running
from tests.unit.csi.services.kubelet import INTERVAL, Kubelet, create_stale_socket, listening, logged
from tests.until import until

pytestmark = pytest.mark.process


@pytest.fixture
def kubelet(tmp_path: Path) -> Kubelet:
    """A kubelet with an empty directory."""
    return Kubelet(tmp_path)


@pytest.fixture
def driver(tmp_path: Path, kubelet: Kubelet) -> Iterator[Driver]:
    """A driver that registers with kubelet."""
    with running(tmp_path, *kubelet.flags) as found:
        yield found


def test_kubelet_finds_calls_and_registers_the_driver(driver: Driver, kubelet: Kubelet) -> None:
    """GetInfo returns the endpoint as kubelet sees it, where the driver listens already; the directory has no other file."""
    until(lambda: kubelet.seen() is not None, "the driver has a socket", pause=0.005)
    info = kubelet.info()

    assert (info.type, info.name, list(info.supported_versions)) == ("CSIPlugin", "csi.mooring.dev", ["1.0.0"])
    assert info.endpoint == str(kubelet.endpoint)
    assert kubelet.node_id(info.endpoint) == "n"

    kubelet.notify_status(registered=True)
    assert len(logged(driver, "registration.registered")) == 1
    assert kubelet.socket.stat().st_mode & 0o077 == 0
    assert list(kubelet.directory.iterdir()) == [kubelet.socket]


def test_a_refused_driver_retries_on_a_new_socket_with_growing_pauses_until_it_is_registered(
    driver: Driver, kubelet: Kubelet
) -> None:
    """Kubelet 1.34 tries no socket twice; its error is in the driver's log, and the driver serves meanwhile."""
    seen = None
    for registered in (False, False, True, False):
        kubelet.until_served(other_than=seen)
        seen = kubelet.seen()
        kubelet.notify_status(registered=registered, error="" if registered else "topology value collision")
        assert driver.identity.Probe(csi_pb2.ProbeRequest(), timeout=SECONDS).ready.value
        if registered:
            assert kubelet.seen() == seen
            seen = None
    kubelet.until_served(other_than=seen)

    refusals = logged(driver, "registration.refused")
    assert {line["error"] for line in refusals} == {"topology value collision"}
    assert [line["again_in_seconds"] for line in refusals] == [INTERVAL, 2 * INTERVAL, INTERVAL]


def _remove(kubelet: Kubelet) -> None:
    kubelet.socket.unlink()


def _put_a_file(kubelet: Kubelet) -> None:
    (kubelet.directory / "new").write_text("not a socket", encoding="utf-8")
    (kubelet.directory / "new").replace(
        kubelet.socket
    )  # atomic, so that the driver cannot create its socket in between


def _put_a_dead_socket(kubelet: Kubelet) -> None:
    create_stale_socket(kubelet.directory / "new")
    (kubelet.directory / "new").replace(kubelet.socket)


def _recreate_the_directory(kubelet: Kubelet, *, seconds: float = 0) -> None:
    former = kubelet.directory.rename(kubelet.directory.with_name("former"))
    time.sleep(seconds)
    kubelet.directory.mkdir()
    shutil.rmtree(former)


def _remove_the_directory_for_a_while(kubelet: Kubelet) -> None:
    _recreate_the_directory(kubelet, seconds=6 * INTERVAL)


DISTURBANCES: dict[str, Callable[[Kubelet], None]] = {
    "socket removed": _remove,
    "replaced by a file": _put_a_file,
    "replaced by a dead socket": _put_a_dead_socket,
    "directory recreated": _recreate_the_directory,
    "directory missing for a while": _remove_the_directory_for_a_while,
}


@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_a_removed_or_replaced_socket_is_created_again(driver: Driver, kubelet: Kubelet, disturbance: str) -> None:
    """The next check detects it, each time."""
    for _ in range(2):
        kubelet.until_served()
        seen = kubelet.seen()
        DISTURBANCES[disturbance](kubelet)
        kubelet.until_served(other_than=seen if disturbance != "replaced by a dead socket" else kubelet.seen())
        until(lambda: list(kubelet.directory.iterdir()) == [kubelet.socket], "only the socket is left", pause=0.005)

    kubelet.notify_status(registered=True)
    assert len(logged(driver, "registration.lost")) == 2
    if disturbance == "directory missing for a while":
        assert len(logged(driver, "registration.waiting")) == 2


def test_without_kubelets_directory_the_driver_serves_and_logs_that_once(tmp_path: Path) -> None:
    """Kubelet may start later; until then the driver works, and does not fill its log."""
    kubelet = Kubelet(tmp_path)
    kubelet.directory.rmdir()
    with running(tmp_path, *kubelet.flags) as driver:
        until(lambda: logged(driver, "registration.waiting"), "the driver waits", pause=0.005)
        assert driver.identity.Probe(csi_pb2.ProbeRequest(), timeout=SECONDS).ready.value
        time.sleep(6 * INTERVAL)

        errors = [line["error"] for line in logged(driver, "registration.waiting")]
        assert errors == [
            f"the registration socket {kubelet.socket} cannot be created: the directory does not exist; it is retried"
        ]
        kubelet.directory.mkdir()
        kubelet.until_served()


UNUSABLE: dict[str, tuple[list[str], str]] = {
    # case: (arguments of the mount over kubelet's directory, part of the message)
    "read-only": (["-t", "tmpfs", "-o", "ro", "none"], "the directory is not writable"),
    "removed on the host while mounted": (["--bind", "SOURCE"], "the directory was removed on the host"),
}


@pytest.mark.needs("root")
@pytest.mark.parametrize("case", UNUSABLE)
def test_an_unusable_directory_is_reported_once_and_used_when_it_is_usable(
    driver: Driver, kubelet: Kubelet, tmp_path: Path, case: str
) -> None:
    """The directory exists, but no socket can be created in it."""
    mount, message = UNUSABLE[case]
    kubelet.until_served()
    seen = kubelet.seen()
    source = tmp_path / "source"
    source.mkdir()
    how = [str(source) if each == "SOURCE" else each for each in mount]
    subprocess.run(["mount", *how, kubelet.directory], check=True)
    source.rmdir()
    until(
        lambda: any(message in line["error"] for line in logged(driver, "registration.waiting")),
        "the driver reports why it waits",
        pause=0.005,
    )
    count = len(logged(driver, "registration.waiting"))
    time.sleep(6 * INTERVAL)
    assert len(logged(driver, "registration.waiting")) == count

    subprocess.run(["umount", kubelet.directory], check=True)
    kubelet.until_served(other_than=seen)


def test_the_sockets_of_a_killed_driver_are_replaced(driver: Driver, kubelet: Kubelet) -> None:
    """The public socket, and a private one that did not get the public name yet."""
    kubelet.until_served()
    driver.end(signal.SIGKILL)
    stale = kubelet.seen()
    assert stale is not None
    create_stale_socket(kubelet.directory / ".csi.mooring.dev-0badcafe.sock")

    driver.start()

    kubelet.until_served(other_than=stale)
    until(lambda: list(kubelet.directory.iterdir()) == [kubelet.socket], "only the socket is left", pause=0.005)


@pytest.mark.parametrize("registered", [True, False])
def test_a_stopped_driver_leaves_no_socket_and_removes_kubelets_first(
    driver: Driver, kubelet: Kubelet, *, registered: bool
) -> None:
    """So kubelet never finds a driver that does not serve any more; also during a pause after a refusal."""
    kubelet.until_served()
    kubelet.notify_status(registered=registered)
    assert driver._process is not None
    driver._process.send_signal(signal.SIGTERM)
    while driver._process.poll() is None:
        assert kubelet.endpoint.exists() or kubelet.seen() is None

    assert driver._process.returncode == 0
    assert list(kubelet.directory.iterdir()) == []
    assert not kubelet.endpoint.exists()


def test_a_second_driver_on_one_node_is_refused_and_the_first_stays(
    driver: Driver, kubelet: Kubelet, tmp_path: Path
) -> None:
    """Also with another socket path: kubelet would refuse it, and it would appear healthy."""
    kubelet.until_served()
    seen = kubelet.seen()
    argv = [f"--endpoint=unix://{tmp_path}/other/csi.sock", "--node-id=n", f"--pool={driver.pool}", *kubelet.flags]
    second = subprocess.run(
        [sys.executable, "-m", "csi", *argv], capture_output=True, text=True, cwd=ROOT, check=False, timeout=SECONDS
    )

    assert (second.returncode, second.stderr.count("\n")) == (78, 1), second.stderr
    assert "another driver is already registered" in second.stderr
    assert kubelet.seen() == seen
    kubelet.notify_status(registered=True)
    assert driver.end() == 0


@pytest.fixture
def other_socket(driver: Driver, kubelet: Kubelet) -> Iterator[socket.socket]:
    """The socket of another running process in place of the driver's."""
    kubelet.until_served()
    with listening(kubelet.directory / "other") as found:
        (kubelet.directory / "other").replace(kubelet.socket)
        until(lambda: logged(driver, "registration.waiting"), "the driver waits", pause=0.005)
        yield found


def test_the_socket_of_another_running_driver_is_never_removed(
    driver: Driver, kubelet: Kubelet, other_socket: socket.socket
) -> None:
    """The driver serves on and waits; when the other socket is closed, it creates its own."""
    other = kubelet.seen()
    time.sleep(6 * INTERVAL)
    assert kubelet.seen() == other
    assert len(logged(driver, "registration.waiting")) == 1

    other_socket.close()
    kubelet.until_served(other_than=other)


@pytest.mark.usefixtures("other_socket")
def test_a_stopping_driver_does_not_remove_the_socket_of_another_running_driver(
    driver: Driver, kubelet: Kubelet
) -> None:
    """The gRPC server would remove it by default."""
    other = kubelet.seen()
    assert driver.end() == 0
    assert kubelet.seen() == other


@pytest.mark.parametrize("authority", ["localhost", "csi.mooring.dev", "%2Fvar%2Flib%2Fkubelet%2Freg.sock"])
def test_any_authority_is_accepted(driver: Driver, kubelet: Kubelet, authority: str) -> None:
    """Clients of unix sockets send an arbitrary one."""
    assert driver.pid
    kubelet.until_served()
    assert kubelet.info(authority=authority).name == "csi.mooring.dev"


BAD: dict[str, tuple[tuple[str, ...], str]] = {
    # case: (flags, part of the message)
    "no socket path": (("--kubelet-registration-dir=/r",), "--kubelet-socket-path"),
    "no directory": (("--kubelet-socket-path=/k/csi.sock",), "--kubelet-registration-dir"),
    "relative directory": (("--kubelet-registration-dir=r", "--kubelet-socket-path=/k/csi.sock"), "not an absolute path"),
    "too long for a socket name": ((f"--kubelet-registration-dir=/{'r' * 76}", "--kubelet-socket-path=/k/csi.sock"), "at most 76 bytes"),
    "relative socket path": (("--kubelet-registration-dir=/r", "--kubelet-socket-path=k/csi.sock"), "csi.sock"),
    "not a unix socket": (("--kubelet-registration-dir=/r", "--kubelet-socket-path=tcp://k/csi.sock"), "unix:///path"),
    "no interval": (("--kubelet-check-interval=0",), "not in the range"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_flags_are_refused_with_one_line(tmp_path: Path, case: str) -> None:
    """Exit code 2, before any file is created."""
    flags, message = BAD[case]
    argv = [f"--endpoint=unix://{tmp_path}/csi.sock", "--node-id=n", f"--pool={tmp_path}/pool", *flags]
    done = subprocess.run([sys.executable, "-m", "csi", *argv], capture_output=True, text=True, cwd=ROOT, check=False)

    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []
