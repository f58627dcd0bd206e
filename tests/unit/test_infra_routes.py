"""Which route a path belongs to."""

import pytest

from infra.servers.gateway.routes import RouteTable

PATTERNS = ["/", "/health", "/users/{user}/buy", "/users/{user}/quote/{symbol}", "/users/all/buy", "/dumplog"]


@pytest.mark.parametrize(
    ("path", "pattern", "parameters"),
    [
        ("/", "/", {}),
        ("/health", "/health", {}),
        ("/health/", "/health", {}),
        ("/users/jane/buy", "/users/{user}/buy", {"user": "jane"}),
        ("/users/jane/buy/", "/users/{user}/buy", {"user": "jane"}),
        ("/users/jane/quote/ABC", "/users/{user}/quote/{symbol}", {"user": "jane", "symbol": "ABC"}),
        ("/users/all/buy", "/users/all/buy", {}),
        ("/users/all/quote/ABC", "/users/{user}/quote/{symbol}", {"user": "all", "symbol": "ABC"}),
        ("/users/a%20b/buy", "/users/{user}/buy", {"user": "a b"}),
        ("/users/a%2Fbuy/buy", "/users/{user}/buy", {"user": "a/buy"}),
        ("/users/%2541/buy", "/users/{user}/buy", {"user": "%41"}),
        ("/%75sers/all/b%75y", "/users/all/buy", {}),
    ],
)
def test_a_path_finds_its_route(path: str, pattern: str, parameters: dict[str, str]) -> None:
    table = RouteTable((pattern, pattern) for pattern in PATTERNS)
    assert table.match(path) == (pattern, parameters)


@pytest.mark.parametrize(
    "path",
    ["", "//", "/healthy", "/health//", "/users", "/users/jane", "/users//buy", "/users/jane/buy/x", "health", "*"],
)
def test_an_unknown_path_finds_none(path: str) -> None:
    table = RouteTable((pattern, pattern) for pattern in PATTERNS)
    assert table.match(path) is None
