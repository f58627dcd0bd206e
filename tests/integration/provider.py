"""An identity provider for the tests: real keys, served over real HTTP."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

ISSUER = "https://login.example.com/"
AUDIENCE = "day-trading"


@dataclass
class Key:
    """A signing key with its id."""

    kid: str
    algorithm: str = "RS256"

    def __post_init__(self) -> None:
        self.private: Any = (
            rsa.generate_private_key(65537, 2048)
            if self.algorithm == "RS256"
            else ec.generate_private_key(ec.SECP256R1())
        )

    def public(self) -> dict[str, Any]:
        """Return the public half as a JWK."""
        kind = RSAAlgorithm if self.algorithm == "RS256" else ECAlgorithm
        jwk: dict[str, Any] = kind.to_jwk(self.private.public_key(), as_dict=True)
        return {**jwk, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def public_pem(self) -> bytes:
        """Return the public half as PEM."""
        pem: bytes = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem

    def token(self, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a valid token for jane; claims of None are left out."""
        good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "jane", "role": "trader", "exp": int(time.time()) + 600}
        kept = {name: value for name, value in {**good, **claims}.items() if value is not None}
        named = {name: value for name, value in {"kid": self.kid, **(headers or {})}.items() if value is not None}
        return jwt.encode(kept, self.private, self.algorithm, headers=named)


@dataclass
class Provider:
    """What the provider serves, and how many requests it had."""

    keys: list[Key] = field(default_factory=list)
    asked: int = 0
    status: int = 200
    held: threading.Event | None = None
    trickles: bool = False
    url: str = ""
    extra: list[dict[str, Any]] = field(default_factory=list)

    def document(self) -> bytes:
        """Return the JWK set."""
        return json.dumps({"keys": [*(key.public() for key in self.keys), *self.extra]}).encode()


@contextmanager
def running_provider(*keys: Key) -> Iterator[Provider]:
    """Serve the public keys."""
    provider = Provider(list(keys))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.asked += 1
            if provider.held is not None:
                while not provider.held.wait(0.05 if provider.trickles else 30) and provider.trickles:
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = provider.document() if provider.status == 200 else b""
            with suppress(ConnectionError):  # who asked may have given up
                self.send_response(provider.status)
                if 300 <= provider.status < 400:
                    self.send_header("Location", provider.url)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        provider.url = f"http://127.0.0.1:{server.server_port}/keys"
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()
