"""Request bodies in protobuf."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from provisioner.embedded.apiserver.http import protobuf
from provisioner.embedded.apiserver.http.serving import serve
from provisioner.embedded.apiserver.store.store import Store
from tests.contract.wire import enveloped, field, varint

METADATA = field(1, field(1, "shop") + field(2, "") + field(8, b"") + field(11, field(1, "a") + field(2, "b")))
NAMESPACE = enveloped("v1", "Namespace", METADATA + field(2, b"") + field(3, field(1, "")))


def test_empty_fields_are_absent() -> None:
    """Empty fields are absent: Go encodes every scalar field, also empty ones, and an unset time as an empty message."""
    assert protobuf.decode(NAMESPACE) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop", "labels": {"a": "b"}},
    }


def test_zero_differs_from_absent_where_it_matters() -> None:
    """A grace period of zero seconds and a false boolean are set values."""
    options = enveloped("v1", "DeleteOptions", field(1, 0) + field(3, 0) + field(4, "") + field(5, "All"))
    decoded = protobuf.decode(options)
    assert (decoded["gracePeriodSeconds"], decoded["orphanDependents"], decoded["dryRun"]) == (0, False, ["All"])
    assert "propagationPolicy" not in decoded


def test_numbers_times_and_ports() -> None:
    """Negative numbers, creation times and both types of target port are decoded."""
    ports = [field(3, 80) + field(4, field(1, 1) + field(2, 0) + field(3, "web")), field(3, 81) + field(4, field(2, 8))]
    body = field(1, field(7, -1) + field(8, field(1, 86400))) + field(2, b"".join(field(1, each) for each in ports))
    decoded = protobuf.decode(enveloped("v1", "Service", body))
    assert decoded["metadata"] == {"generation": -1, "creationTimestamp": "1970-01-02T00:00:00Z"}
    assert [each["targetPort"] for each in decoded["spec"]["ports"]] == ["web", 8]


@pytest.mark.parametrize("seconds", [1 << 60, -(1 << 60), 253402300800])
def test_a_time_out_of_range_is_refused(seconds: int) -> None:
    """A timestamp out of range is an error of the client, not of the server."""
    with pytest.raises(protobuf.DecodeError):
        protobuf.decode(enveloped("v1", "Namespace", field(1, field(8, field(1, seconds)))))


def test_unknown_fields_are_skipped() -> None:
    """Fields of a newer client are skipped, whatever their wire type."""
    extra = field(99, 1) + varint(98 << 3 | 1) + bytes(8) + varint(97 << 3 | 5) + bytes(4)
    assert protobuf.decode(enveloped("v1", "Namespace", METADATA + extra))["metadata"]["name"] == "shop"


@pytest.mark.parametrize("end", range(4, len(NAMESPACE), 7))
def test_a_truncated_body_is_refused(end: int) -> None:
    """A truncated body raises DecodeError or UnknownKindError, no other error, and decoding ends."""
    try:
        protobuf.decode(NAMESPACE[:end])
    except (protobuf.DecodeError, protobuf.UnknownKindError):
        return
    raise AssertionError(end)


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that sends protobuf."""
    store = Store(tmp_path / "engine.db")
    headers = {"Authorization": "Bearer t", "Content-Type": protobuf.MEDIA_TYPE}
    async with (
        serve(store, port=0, tls=None, token="t") as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as session,
    ):
        yield session
    store.close()


async def test_a_namespace_can_be_sent_as_protobuf(session: aiohttp.ClientSession) -> None:
    """The response is JSON, which clients that send protobuf accept, too."""
    async with session.post("/api/v1/namespaces", data=NAMESPACE) as answer:
        assert answer.status == 201
        assert (await answer.json())["metadata"]["labels"]["a"] == "b"


@pytest.mark.limit("api-formats")
async def test_other_kinds_must_be_sent_as_json(session: aiohttp.ClientSession) -> None:
    """Other kinds get a 415 with the accepted media types; malformed protobuf is a bad request."""
    pods = "/api/v1/namespaces/default/pods"
    async with session.post(pods, data=enveloped("v1", "Pod", METADATA)) as answer:
        assert answer.status == 415
        message = (await answer.json())["message"]
        assert "Pod" in message
        assert "application/json" in message
        assert "starts no containers" in message  # kubectl debug sends a pod in protobuf
    for broken in (b"{}", b"k8s\0\xff", b"k8s\0" + b"\xff" * 20):
        async with session.post(pods, data=broken) as answer:
            assert answer.status == 400
