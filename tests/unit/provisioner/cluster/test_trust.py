"""The certificate authority in the API: created once, shared by the replicas, replaced in time."""

import asyncio
import base64
import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from provisioner.cluster.authority import create_authority
from provisioner.cluster.key_pins import KeyChangedError, Pins
from provisioner.cluster.trust import NAME, SECRET_KEY, Trust
from provisioner.kube.errors import Conflict
from provisioner.model.kinds import CONFIG_MAP, SECRET, Json, Kind
from tests.unit.provisioner.controllers.fake_api import FakeApi

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class _Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now


def _trust(api: FakeApi, clock: _Clock | None = None) -> Trust:
    return Trust(api, namespace="m", clock=clock or _Clock())


def _bundle(api: FakeApi) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(api.all(CONFIG_MAP, "m")[0]["data"]["ca.crt"].encode())


async def test_two_replicas_share_one_authority() -> None:
    """Both may start at once; the authority that drivers trust signs for both."""
    api = FakeApi()
    one, other = await asyncio.gather(_trust(api).certificate(), _trust(api).certificate())
    [trusted] = _bundle(api)
    for each in (one, other):
        x509.load_pem_x509_certificate(each.chain).verify_directly_issued_by(trusted)
    assert "PRIVATE KEY" not in str(api.all(CONFIG_MAP))


async def test_nothing_is_written_or_signed_without_need() -> None:
    """The certificate is requested every second."""
    api, clock = FakeApi(), _Clock()
    trust = _trust(api, clock)
    first = await trust.certificate()
    writes = len(api.writes)
    clock.now += dt.timedelta(hours=11)
    assert first is await trust.certificate()
    assert len(api.writes) == writes
    clock.now += dt.timedelta(hours=2)
    assert first is not await trust.certificate()
    assert len(api.writes) == writes


async def test_a_new_authority_is_published_before_it_signs() -> None:
    """Before the first one expires there are two, and the first one signs until every driver has the second."""
    api, clock = FakeApi(), _Clock()
    trust = _trust(api, clock)
    await trust.certificate()
    [former] = _bundle(api)
    clock.now = former.not_valid_after_utc - dt.timedelta(days=80)
    soon = await trust.certificate()
    assert 2 == len(_bundle(api))
    x509.load_pem_x509_certificate(soon.chain).verify_directly_issued_by(former)
    clock.now += dt.timedelta(hours=1)
    later = await trust.certificate()
    x509.load_pem_x509_certificate(later.chain).verify_directly_issued_by(_bundle(api)[1])


async def test_a_lost_or_damaged_authority_is_replaced() -> None:
    """A new authority is created when an admin deletes the Secret, or when the Secret cannot be read."""
    api = FakeApi()
    await _trust(api).certificate()
    [former] = _bundle(api)
    secret = api.all(SECRET, "m")[0]
    secret["data"][SECRET_KEY] = base64.b64encode(b"nonsense").decode()
    api.put(SECRET, secret)
    await _trust(api).certificate()
    assert [former] != _bundle(api)
    await api.delete(SECRET, NAME, namespace="m")
    await api.delete(CONFIG_MAP, NAME, namespace="m")
    await _trust(api).certificate()
    assert 1 == len(_bundle(api))


class _BusyApi(FakeApi):
    """An API server where another client writes between the reads and the first write."""

    busy = True

    async def patch(self, kind: Kind, name: str, patch: Json | list[Json], **more: str) -> Json:
        if self.busy:
            self.busy = False
            raise Conflict(409, "Conflict", "changed meanwhile")
        return await super().patch(kind, name, patch, **more)


def _certificate() -> bytes:
    """Any certificate: only its key is used."""
    return create_authority(NOW).certificate.public_bytes(Encoding.DER)


async def test_a_key_is_pinned_on_first_contact_and_then_the_only_accepted_one() -> None:
    """A changed key is refused until an admin removes the pin; the error has the command."""
    api = _BusyApi()
    pins = Pins(api, namespace="m")
    first, other = _certificate(), _certificate()
    await pins.check("a", first)
    await pins.check("b", other)
    await pins.check("a", first)
    with pytest.raises(KeyChangedError, match=r"kubectl -n m patch configmap mooring-driver-keys .*/data/a"):
        await pins.check("a", other)
    await api.patch(CONFIG_MAP, "mooring-driver-keys", [{"op": "remove", "path": "/data/a"}], namespace="m")
    await pins.check("a", other)
