"""MongoDB, Redis and Secrets Manager as in the cloud: with TLS, and a login for MongoDB."""

import ipaddress
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pymongo import MongoClient

from chalicelib.store.documents import Document
from infra.bench.servers import mongod, redis, running
from infra.cloud.aws_server import AWS, aws_server
from infra.host.binaries import find_haproxy
from infra.host.ports import HOST, free_port, listens
from infra.local.process import Part

_USER, _PASSWORD = "bench", "bench"  # of a database that lives for seconds
_KEYS = {name.lower(): AWS[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
_PROXY = """\
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
"""
_PROXIED = """\
listen {name}
    bind {host}:{port} ssl crt {pem}
    server {name} {address}
"""


@contextmanager
def cloud(folder: Path, token_secret: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Run empty servers like those of a stack in AWS; yields a plain address of the mongod and a function's variables.

    The function reads two secrets: the token secret, and the addresses. It trusts the authorities that Lambda does, and
    these servers.
    """
    pem, trusted = folder / "server.pem", folder / "trusted.pem"
    _certify(pem)
    trusted.write_text(Path(certifi.where()).read_text() + pem.read_text())
    tls = ("--tlsMode", "allowTLS", "--tlsCertificateKeyFile", str(pem))
    with mongod(folder, *tls) as (uri, _), redis(folder) as redis_url, aws_server(folder / "logs") as aws:
        with MongoClient[Document](uri) as client:
            client.admin.command("createUser", _USER, pwd=_PASSWORD, roles=["root"])
        plain = {"redis": redis_url.partition("//")[2].partition("/")[0], "secrets": aws.partition("//")[2]}
        with _encrypted(folder, pem, plain) as at:
            login = f"{uri.replace('://', f'://{_USER}:{_PASSWORD}@')}&authSource=admin&tls=true"
            secrets = {
                "bench/tokens": {"AUTH_SECRET": token_secret},
                "bench/settings": {"MONGO_URI": login, "REDIS_URL": f"rediss://{at['redis']}/0"},
            }
            client = boto3.client("secretsmanager", endpoint_url=aws, region_name="us-east-1", **_KEYS)
            for name, held in secrets.items():
                client.create_secret(Name=name, SecretString=json.dumps(held))
            client.close()
            yield (
                uri,
                {
                    **AWS,
                    "AWS_ENDPOINT_URL_SECRETS_MANAGER": f"https://{at['secrets']}",
                    "SECRET_IDS": ",".join(secrets),
                    "REQUIRE_TLS": "yes",
                    "SSL_CERT_FILE": str(trusted),
                },
            )
    for file in (pem, trusted):
        file.unlink()


@contextmanager
def _encrypted(folder: Path, pem: Path, plain: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Put TLS in front of servers at `host:port`, by name; yields their TLS addresses. Raises BinaryMissingError."""
    place = folder / "tls"
    place.mkdir()
    ports = {name: free_port() for name in plain}
    proxied = [_PROXIED.format(name=name, host=HOST, port=ports[name], pem=pem, address=plain[name]) for name in plain]
    (place / "haproxy.cfg").write_text(_PROXY + "".join(proxied))
    command = [str(find_haproxy()), "-db", "-f", "haproxy.cfg"]
    part = Part("tls", command, os.environ, partial(_why_not_ready, ports.values()), folder=place)
    with running(part, folder):
        yield {name: f"{HOST}:{port}" for name, port in ports.items()}
    shutil.rmtree(place)


def _why_not_ready(ports: Collection[int]) -> str | None:
    missing = [port for port in ports if not listens(port)]
    return f"nothing listens on {missing}" if missing else None


def _certify(pem: Path) -> None:
    """Write a key and its self-signed certificate, valid for a day, for this machine's loopback address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
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
