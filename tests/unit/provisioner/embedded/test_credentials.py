"""Tests of the engine's certificates, token and kubeconfig."""

import ssl
import stat
from pathlib import Path

import pytest
import yaml

from provisioner.embedded import credentials
from provisioner.embedded.settings import BadEnvironmentError, StatePaths, prepare


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    """A prepared state directory."""
    found = StatePaths(tmp_path)
    prepare(found)
    return found


def test_credentials_are_reused(paths: StatePaths) -> None:
    """A second start uses the same certificate and token."""
    first = credentials.ensure(paths)
    certificate = first.certificate.read_bytes()
    second = credentials.ensure(paths)
    assert (first.token, certificate) == (second.token, second.certificate.read_bytes())


def test_secrets_are_private(paths: StatePaths) -> None:
    """Only the owner can read key, token and kubeconfig."""
    created = credentials.ensure(paths)
    credentials.write_kubeconfig(paths, created, port=6443)
    for path in (created.key, paths.tls / "token", paths.kubeconfig):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_certificate_of_another_authority_is_replaced(paths: StatePaths, tmp_path: Path) -> None:
    """A certificate that the authority did not sign is replaced, since no client would trust it."""
    created = credentials.ensure(paths)
    other = StatePaths(tmp_path / "other")
    prepare(other)
    created.authority.write_bytes(credentials.ensure(other).authority.read_bytes())
    before = created.certificate.read_bytes()
    assert before != credentials.ensure(paths).certificate.read_bytes()


def test_a_client_with_the_kubeconfig_trusts_the_server(paths: StatePaths) -> None:
    """The TLS handshake succeeds with the authority and the host name in the kubeconfig."""
    created = credentials.ensure(paths)
    credentials.write_kubeconfig(paths, created, port=6443)
    cluster = yaml.safe_load(paths.kubeconfig.read_text(encoding="utf-8"))["clusters"][0]["cluster"]
    assert "https://127.0.0.1:6443" == cluster["server"]
    client_context = ssl.create_default_context(cafile=str(created.authority))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    server = created.server_context().wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client.getpeercert()


def test_an_empty_token_is_refused(paths: StatePaths) -> None:
    """With an empty token every client would be authorized, so the engine does not start."""
    credentials.ensure(paths)
    (paths.tls / "token").write_text("\n", encoding="ascii")
    with pytest.raises(BadEnvironmentError, match="is empty; remove it"):
        credentials.ensure(paths)
