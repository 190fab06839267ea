"""The controller's certificate authority: drivers trust what it signs, also during a rotation."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from provisioner.cluster import authority
from provisioner.cluster.authority import Authority, bundle, create_authority, read, renewed, sign_client, signer, write

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def _signed_by(certificate: x509.Certificate, first: Authority) -> bool:
    try:
        certificate.verify_directly_issued_by(first.certificate)
    except (InvalidSignature, ValueError):
        return False
    return True


def test_a_client_certificate_names_its_role_and_nothing_more() -> None:
    """The certificate has the URI that drivers check; it may not sign certificates, nor be a server's."""
    first = create_authority(START)
    certificate = x509.load_pem_x509_certificate(sign_client(first, START).chain)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ["mooring:controller"] == names.get_values_for_type(x509.UniformResourceIdentifier)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH] == list(usage)
    assert _signed_by(certificate, first)


def test_written_authorities_can_be_read() -> None:
    """Each key is read with its certificate."""
    both = [create_authority(START), create_authority(START + DAY)]
    found = read(write(both))
    assert [each.certificate for each in both] == [each.certificate for each in found]
    assert all(each.key.public_key() == each.certificate.public_key() for each in found)


def test_keys_that_do_not_belong_together_are_refused() -> None:
    """An edited Secret is not accepted as an authority."""
    first, other = create_authority(START), create_authority(START)
    with pytest.raises(ValueError, match="does not belong"):
        read(write([Authority(first.certificate, other.key)]))
    with pytest.raises(ValueError, match=r"."):
        read(b"nonsense")


@given(st.lists(st.integers(1, 200), min_size=1, max_size=12))
def test_a_driver_with_an_old_bundle_accepts_the_signer(days: list[int]) -> None:
    """The signer is in a bundle of up to 200 days ago, unless all authorities in that bundle have expired."""
    now = START
    authorities = renewed([], now)
    for step in days:
        synced = bundle(authorities)
        now += dt.timedelta(days=step)
        authorities = renewed(authorities, now)
        by = signer(authorities, now)
        assert by.expires > now
        trusted = x509.load_pem_x509_certificates(synced.encode())
        if any(each.not_valid_after_utc > now for each in trusted):
            assert by.certificate in trusted
        assert authorities[-1].expires - now >= authority.RENEW_BEFORE


def test_a_certificate_ends_before_its_authority() -> None:
    """This also holds when it is signed shortly before the authority expires."""
    first = create_authority(START)
    late = sign_client(first, first.expires - dt.timedelta(hours=1))
    assert x509.load_pem_x509_certificate(late.chain).not_valid_after_utc <= first.expires
    assert isinstance(first.key, ec.EllipticCurvePrivateKey)
