"""Keys that are made for a test: of servers on this machine, with certificates, and of service accounts."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa


@dataclass(frozen=True)
class Certificate:
    """Files of a server's certificate for this machine's loopback address, its key, and the authority behind it."""

    certificate: Path
    key: Path
    authority: Path


def make_certificate(folder: Path) -> Certificate:
    """A new one, in the folder. It is good for a day."""
    files = Certificate(folder / "server.pem", folder / "server.key", folder / "authority.pem")
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    authority = _certify("authority", authority_key, authority_key, x509.BasicConstraints(True, None))
    files.authority.write_bytes(authority)
    files.certificate.write_bytes(_certify("server", key, authority_key, here))
    pem = serialization.Encoding.PEM
    files.key.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def write_service_account(folder: Path, token_uri: str) -> Path:
    """The file with a new key of a service account that is ``me@`` its project, and gets its tokens at the URL."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "private_key": private.decode(),
        "client_email": "me@project.iam.gserviceaccount.com",
        "token_uri": token_uri,
    }
    path = folder / "key.json"
    path.write_text(json.dumps(key))
    return path


def _certify(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    authority_key: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> bytes:
    subject, issuer = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in (name, "authority")
    )
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    # From 3.13 on, Python wants what RFC 5280 wants.
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    whose = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = builder.add_extension(whose, critical=False)
    now = datetime.now(timezone.utc)
    day = timedelta(days=1)
    builder = builder.not_valid_before(now - day).not_valid_after(now + day)
    if isinstance(extension, x509.BasicConstraints):
        usage = dict.fromkeys(
            (
                *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
                *("key_agreement", "crl_sign", "encipher_only", "decipher_only"),
            ),
            False,
        )
        builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, **usage), critical=True)
    signed = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints)).sign(
        authority_key, hashes.SHA256()
    )
    return signed.public_bytes(serialization.Encoding.PEM)
