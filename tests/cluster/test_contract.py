"""Run the contract tests of the embedded API server against a real kube-apiserver as well."""

import base64
import os
import re
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from ssl import create_default_context

import pytest
import yaml

from hack.cluster import binaries
from hack.cluster.credentials import Authority
from tests.conftest import ROOT
from tests.ports import free_port
from tests.until import until

pytestmark = [pytest.mark.needs("cluster"), pytest.mark.timeout(900)]

START_SECONDS = 90


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    """Run a kube-apiserver and its etcd without controllers, so that nothing changes what a test wrote."""
    programs = binaries.ready(binaries.wanted_version())
    client, peer, port = (free_port() for _ in range(3))
    authority = Authority.made(tmp_path / "pki")
    authority.sign("server", "server", hosts=("127.0.0.1",))
    pki, token = tmp_path / "pki", secrets.token_hex(16)
    (tmp_path / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n", encoding="utf-8")
    etcd = [
        str(programs / "etcd"), f"--data-dir={tmp_path}/etcd", "--unsafe-no-fsync",
        f"--listen-client-urls=http://127.0.0.1:{client}", f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}", f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}",
    ]  # fmt: skip
    server = [
        str(programs / "kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{client}", "--bind-address=127.0.0.1",
        f"--secure-port={port}", "--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=RBAC",
        f"--token-auth-file={tmp_path}/tokens.csv", "--disable-admission-plugins=ServiceAccount",
        f"--tls-cert-file={pki}/server.crt", f"--tls-private-key-file={pki}/server.key",
        "--service-account-issuer=https://mooring.test", f"--service-account-key-file={pki}/server.key",
        f"--service-account-signing-key-file={pki}/server.key",
    ]  # fmt: skip
    certificate = (pki / "ca.crt").read_bytes()
    config = {
        "clusters": [
            {
                "name": "c",
                "cluster": {
                    "server": f"https://127.0.0.1:{port}",
                    "certificate-authority-data": base64.b64encode(certificate).decode(),
                },
            }
        ],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config), encoding="utf-8")
    with (tmp_path / "log").open("wb") as log:
        started: list[subprocess.Popen[bytes]] = []
        try:
            started += [subprocess.Popen(argv, stdout=log, stderr=log) for argv in (etcd, server)]
            _wait(f"https://127.0.0.1:{port}/readyz", token, certificate, tmp_path / "log")
            yield tmp_path / "kubeconfig"
        finally:
            for process in reversed(started):
                process.kill()
                process.wait()


def _wait(url: str, token: str, certificate: bytes, log: Path) -> None:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 # the API server started here
    context = create_default_context(cadata=certificate.decode())

    def responds() -> bool:
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:  # noqa: S310 # the API server started here
            return bool(answer.status == 200)

    until(
        responds,
        "the API server responds",
        seconds=START_SECONDS,
        retried=(OSError,),
        details=lambda: log.read_text(encoding="utf-8")[-2000:],
    )


def test_both_servers_keep_the_contract(kubeconfig: Path, report_lines: list[str]) -> None:
    """Every test of tests/contract passes on the embedded API server and on kube-apiserver."""
    argv = [sys.executable, "-m", "pytest", "-q", "tests/contract", "-p", "no:cacheprovider"]
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env=os.environ | {"MOORING_CONTRACT_KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    found = re.search(r"(\d+) passed", done.stdout)
    assert found is not None
    assert int(found[1]) % 2 == 0, "each test runs on both"
    report_lines.append(f"contract: {done.stdout.strip().splitlines()[-1]}, half of them on kube-apiserver")
