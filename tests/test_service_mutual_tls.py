"""Mutual TLS with an authority of our own: who has its certificate is served, nobody else."""

from __future__ import annotations

import datetime as dt
import http.client
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("cryptography", reason="needs the extra sign")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from magml.bundle import write_bundle
from tests import bundle_parts as parts
from tests.conftest import ROOT


class Authority:
    """A certificate authority."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        made = self._builder(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        self._identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        made = made.add_extension(usage, critical=True).add_extension(self._identifier, False)
        self.file.write_bytes(
            made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=2))
            .not_valid_after(now + dt.timedelta(days=1))
        )

    def issue(self, name: str, *, server: bool = False, expired: bool = False) -> tuple[Path, Path]:
        """Return files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        made = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
        if expired:
            made._not_valid_after = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(1)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
            self._identifier
        )
        made = made.add_extension(x509.ExtendedKeyUsage([usage]), False)
        made = made.add_extension(identifier, False)
        if server:
            address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
            made = made.add_extension(address, False)
        certificate, secret = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        certificate.write_bytes(
            made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, secret


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    folder = tmp_path_factory.mktemp("authorities")
    return Authority(folder, "hospital"), Authority(folder, "stranger")


@pytest.fixture(scope="module")
def port(
    authorities: tuple[Authority, Authority], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """A service beyond loopback that asks for certificates of the hospital's authority."""
    folder = tmp_path_factory.mktemp("served") / "bundle"
    write_bundle(folder, parts.contents())
    hospital = authorities[0]
    certificate, key = hospital.issue("service", server=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [
        str(Path(sys.executable).with_name("magml")), "serve", str(folder), "--host", "0.0.0.0",
        "--port", str(port), "--tls-certificate", str(certificate), "--tls-key", str(key),
        "--client-ca", str(hospital.file),
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    try:
        for _ in range(600):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def ask(port: int, trusted: Authority, own: tuple[Path, Path] | None) -> int:
    """Return the status of an answer to somebody with a certificate, or without."""
    context = ssl.create_default_context(cafile=str(trusted.file))
    if own is not None:
        context.load_cert_chain(*own)
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_certificate_of_the_authority_is_served(
    authorities: tuple[Authority, Authority], port: int
) -> None:
    hospital, _ = authorities
    assert ask(port, hospital, hospital.issue("record-system")) == 200


REFUSED = (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)


def test_everybody_else_is_refused(authorities: tuple[Authority, Authority], port: int) -> None:
    hospital, stranger = authorities
    for own in (
        None,
        stranger.issue("intruder"),
        hospital.issue("late", expired=True),
        hospital.issue("another-server", server=True),  # not for use as a client
    ):
        with pytest.raises(REFUSED):
            ask(port, hospital, own)
    with pytest.raises(ssl.SSLCertVerificationError):  # nor does a client trust any service
        ask(port, stranger, hospital.issue("careful"))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:  # nor without TLS
        plain.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" not in plain.recv(1000)
    assert ask(port, hospital, hospital.issue("record-system")) == 200
