"""Bodies in protobuf, as kubectl sends a few."""

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


def test_empty_fields_are_as_absent() -> None:
    """Go writes every plain field, also an empty one, and an unset time as an empty message."""
    assert protobuf.decode(NAMESPACE) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop", "labels": {"a": "b"}},
    }


def test_zero_is_told_from_absent_where_it_matters() -> None:
    """A grace period of zero seconds is one."""
    options = enveloped("v1", "DeleteOptions", field(1, 0) + field(3, 0) + field(4, "") + field(5, "All"))
    said = protobuf.decode(options)
    assert (said["gracePeriodSeconds"], said["orphanDependents"], said["dryRun"]) == (0, False, ["All"])
    assert "propagationPolicy" not in said


def test_numbers_times_and_ports() -> None:
    """Negative numbers, a creation time, and both kinds of target port."""
    ports = [field(3, 80) + field(4, field(1, 1) + field(2, 0) + field(3, "web")), field(3, 81) + field(4, field(2, 8))]
    body = field(1, field(7, -1) + field(8, field(1, 86400))) + field(2, b"".join(field(1, each) for each in ports))
    said = protobuf.decode(enveloped("v1", "Service", body))
    assert said["metadata"] == {"generation": -1, "creationTimestamp": "1970-01-02T00:00:00Z"}
    assert [each["targetPort"] for each in said["spec"]["ports"]] == ["web", 8]


@pytest.mark.parametrize("seconds", [1 << 60, -(1 << 60), 253402300800])
def test_a_time_in_no_year_is_refused(seconds: int) -> None:
    """It is no error of the server."""
    with pytest.raises(protobuf.DecodeError):
        protobuf.decode(enveloped("v1", "Namespace", field(1, field(8, field(1, seconds)))))


def test_unknown_fields_are_passed_over() -> None:
    """A newer client may say more; every form of field on the wire can be skipped."""
    extra = field(99, 1) + varint(98 << 3 | 1) + bytes(8) + varint(97 << 3 | 5) + bytes(4)
    assert protobuf.decode(enveloped("v1", "Namespace", METADATA + extra))["metadata"]["name"] == "shop"


@pytest.mark.parametrize("end", range(4, len(NAMESPACE), 7))
def test_a_body_cut_off_is_refused_or_short(end: int) -> None:
    """However much is missing: no other error, and no endless reading."""
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


async def test_a_namespace_can_come_as_protobuf(session: aiohttp.ClientSession) -> None:
    """It is answered in JSON, which the sender accepts, too."""
    async with session.post("/api/v1/namespaces", data=NAMESPACE) as answer:
        assert answer.status == 201
        assert (await answer.json())["metadata"]["labels"]["a"] == "b"


@pytest.mark.limit("api-formats")
async def test_other_kinds_have_to_come_as_json(session: aiohttp.ClientSession) -> None:
    """415 with what would do; bytes that are no protobuf are a bad request."""
    pods = "/api/v1/namespaces/default/pods"
    async with session.post(pods, data=enveloped("v1", "Pod", METADATA)) as answer:
        assert answer.status == 415
        message = (await answer.json())["message"]
        assert "Pod" in message
        assert "application/json" in message
        assert "starts no containers" in message  # kubectl debug sends a pod in this form
    for broken in (b"{}", b"k8s\0\xff", b"k8s\0" + b"\xff" * 20):
        async with session.post(pods, data=broken) as answer:
            assert answer.status == 400
