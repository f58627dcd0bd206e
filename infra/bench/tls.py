"""A mongod that is reached as one in the cloud is: by TLS, after a login."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pymongo import MongoClient

from chalicelib.store.documents import Document
from infra.bench.servers import mongod
from infra.host.ports import HOST

_USER, _PASSWORD = "bench", "bench"  # of a database that lives for seconds


@contextmanager
def encrypted_mongod(folder: Path) -> Iterator[str]:
    """Run a mongod as the stack's, empty, with TLS; yields an address with a user's name and password."""
    pem = folder / "mongod.pem"
    _certify(pem)
    with mongod(folder, "--tlsMode", "allowTLS", "--tlsCertificateKeyFile", str(pem)) as (uri, _):
        with MongoClient[Document](uri) as client:
            client.admin.command("createUser", _USER, pwd=_PASSWORD, roles=["root"])
        yield f"{uri.replace('://', f'://{_USER}:{_PASSWORD}@')}&authSource=admin&tls=true&tlsCAFile={pem}"
    pem.unlink()


def _certify(pem: Path) -> None:
    """Write a key and its certificate, signed by itself and good for a day, for this machine's own address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mongod")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    pem.write_bytes(text + certificate.public_bytes(serialization.Encoding.PEM))
    pem.chmod(0o600)
