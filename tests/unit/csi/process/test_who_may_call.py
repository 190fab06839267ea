"""The driver's network endpoint accepts only the controller's certificate."""

import datetime as dt
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from csi.v1 import csi_pb2, csi_pb2_grpc
from provisioner.cluster.authority import Authority, bundle
from provisioner.cluster.key_pins import fetch_certificate, fingerprint
from tests.conftest import ROOT
from tests.ports import free_port
from tests.unit.csi.process.certificates import (
    NOW,
    KeyPair,
    authority,
    channel,
    code_of_call,
    controller,
    spki,
    until_listening,
    with_role,
)
from tests.unit.csi.services.driver import Driver

pytestmark = pytest.mark.process

OK, UNAVAILABLE = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE


@dataclass
class _NetworkDriver:
    """A driver with a network endpoint, and the authority that it trusts."""

    driver: Driver
    port: int
    trusts: Authority
    ca: Path
    keys: Path

    @property
    def certificate(self) -> Path:
        return self.keys / "driver.crt"

    def code_of_call(self, key_pair: KeyPair | None) -> grpc.StatusCode:
        return code_of_call(self.port, key_pair, self.certificate)


@pytest.fixture
def network_driver(tmp_path: Path) -> Iterator[_NetworkDriver]:
    """A driver process that also listens on the network."""
    port, trusts = free_port(), authority()
    ca, keys = tmp_path / "ca.crt", tmp_path / "keys"
    ca.write_text(bundle([trusts]), encoding="ascii")
    flags = (f"--network-endpoint=127.0.0.1:{port}", f"--controller-ca={ca}", f"--key-dir={keys}")
    driver = Driver(tmp_path, *flags)
    try:
        driver.start()
        until_listening(port)
        yield _NetworkDriver(driver, port, trusts, ca, keys)
    finally:
        assert 0 == driver.end()


def test_only_the_controller_is_accepted(network_driver: _NetworkDriver) -> None:
    """Another authority, an expired certificate, another role of the right authority, or no certificate is refused."""
    others = authority()
    expired = controller(network_driver.trusts, now=NOW - dt.timedelta(days=2))
    assert OK is network_driver.code_of_call(controller(network_driver.trusts))
    assert UNAVAILABLE is network_driver.code_of_call(controller(others))
    assert UNAVAILABLE is network_driver.code_of_call(expired)
    assert UNAVAILABLE is network_driver.code_of_call(None)
    for roles in ((), ("mooring:driver",), ("mooring:controllers",), ("https://mooring:controller",)):
        assert grpc.StatusCode.PERMISSION_DENIED is network_driver.code_of_call(
            with_role(network_driver.trusts, *roles)
        ), roles
    assert OK is network_driver.code_of_call(controller(network_driver.trusts))


def test_the_node_service_is_not_served(network_driver: _NetworkDriver) -> None:
    """Not even for the controller: only kubelet mounts volumes."""
    with channel(network_driver.port, controller(network_driver.trusts), network_driver.certificate) as opened:
        node = csi_pb2_grpc.NodeStub(opened)
        with pytest.raises(grpc.RpcError) as refused:
            node.NodePublishVolume(csi_pb2.NodePublishVolumeRequest(), timeout=10)
        assert grpc.StatusCode.UNIMPLEMENTED is refused.value.code()
        with pytest.raises(grpc.RpcError) as refused:
            node.NodeGetInfo(csi_pb2.NodeGetInfoRequest(), timeout=10)
        assert grpc.StatusCode.UNIMPLEMENTED is refused.value.code()


def test_an_authority_is_replaced_without_a_restart(network_driver: _NetworkDriver) -> None:
    """With two authorities in the file both are trusted; with only the new one the old certificate is refused."""
    following = authority()
    network_driver.ca.write_text(bundle([network_driver.trusts, following]), encoding="ascii")
    assert OK is network_driver.code_of_call(controller(following))
    assert OK is network_driver.code_of_call(controller(network_driver.trusts))
    network_driver.ca.write_text(bundle([following]), encoding="ascii")
    assert OK is network_driver.code_of_call(controller(following))
    assert UNAVAILABLE is network_driver.code_of_call(controller(network_driver.trusts))


def test_a_damaged_authority_file_changes_nothing(network_driver: _NetworkDriver) -> None:
    """It may be half written; the trusted authorities stay until the file can be read."""
    network_driver.ca.write_text("nonsense", encoding="ascii")
    assert OK is network_driver.code_of_call(controller(network_driver.trusts))
    network_driver.ca.unlink()
    assert OK is network_driver.code_of_call(controller(network_driver.trusts))
    network_driver.ca.write_text(bundle([network_driver.trusts]), encoding="ascii")


def test_the_key_outlives_the_process(network_driver: _NetworkDriver) -> None:
    """The controller identifies the driver by it."""
    before = spki(network_driver.certificate)
    assert 0 == network_driver.driver.end()
    network_driver.certificate.unlink()
    network_driver.driver.start()
    until_listening(network_driver.port)
    assert before == spki(network_driver.certificate)
    assert 0o600 == (network_driver.keys / "driver.key").stat().st_mode & 0o777


def test_a_driver_with_tls_needs_less_than_60_mib(network_driver: _NetworkDriver) -> None:
    """The library that creates keys is not loaded."""
    for _ in range(20):
        assert OK is network_driver.code_of_call(controller(network_driver.trusts))
    status = Path(f"/proc/{network_driver.driver.pid}/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    assert int(line.split()[1]) < 60 << 10, line
    assert "cryptography" not in Path(f"/proc/{network_driver.driver.pid}/maps").read_text(encoding="utf-8")


async def test_the_controller_can_read_the_key_without_a_client_certificate(network_driver: _NetworkDriver) -> None:
    """A key is pinned that way."""
    certificate = await fetch_certificate("127.0.0.1", network_driver.port)
    assert certificate == ssl.PEM_cert_to_DER_cert(network_driver.certificate.read_text(encoding="ascii"))
    assert fingerprint(certificate).startswith("sha256:")


def _start(tmp_path: Path, *flags: str) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "csi", f"--endpoint=unix://{tmp_path}/csi.sock", "--node-id=n"]
    (tmp_path / "pool").mkdir(exist_ok=True)
    argv += [f"--pool={tmp_path}/pool", "--init-empty-pools", *flags]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_the_network_flags_need_each_other(tmp_path: Path) -> None:
    """Exit code 2 and one line when one is missing, or the address is invalid."""
    done = _start(tmp_path, "--network-endpoint=127.0.0.1:1")
    assert 2 == done.returncode
    assert "--network-endpoint, --controller-ca and --key-dir go together" in done.stderr
    for address in ("9810", "a:b", "host:0", "host:70000", "::1:9810"):
        done = _start(tmp_path, f"--network-endpoint={address}", "--controller-ca=x", "--key-dir=y")
        assert (2, True) == (done.returncode, "is not of the form HOST:PORT" in done.stderr), address


def test_an_unusable_environment_ends_the_driver_before_it_serves(tmp_path: Path) -> None:
    """Exit code 78 and one line with the next step, no traceback: no authority, a damaged key, a port in use."""
    ca, keys, port = tmp_path / "ca.crt", tmp_path / "keys", free_port()
    flags = (f"--network-endpoint=127.0.0.1:{port}", f"--controller-ca={ca}", f"--key-dir={keys}")
    done = _start(tmp_path, *flags)
    assert (78, True) == (done.returncode, "the controller's authority cannot be read" in done.stderr), done.stderr
    ca.write_text("nothing", encoding="ascii")
    done = _start(tmp_path, *flags)
    assert (78, True) == (done.returncode, "has no certificate in it" in done.stderr), done.stderr
    ca.write_text(bundle([authority()]), encoding="ascii")
    (keys / "driver.key").write_text("damaged", encoding="ascii")
    done = _start(tmp_path, *flags)
    assert (78, True) == (done.returncode, "driver.key is not a key of this driver" in done.stderr), done.stderr
    assert "mooring-driver-keys" in done.stderr
    assert "Traceback" not in done.stderr
    (keys / "driver.key").unlink()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        done = _start(tmp_path, *flags)
    assert (78, True) == (done.returncode, "choose another --network-endpoint" in done.stderr), done.stderr
    assert not (tmp_path / "csi.sock").exists()
