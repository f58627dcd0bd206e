"""Tokens for a local stack, from the command line."""

import time
from pathlib import Path

import jwt
import pytest

from infra import tokens
from infra.local.folder import StackFolder
from infra.tokens import RenewedToken

SECRET = "a secret of the environment, long enough for HS256"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder without a stack, with no secret in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTH_SECRET", raising=False)


def claims_of(token: str, secret: str) -> dict[str, object]:
    claims: dict[str, object] = jwt.decode(token.strip(), secret, algorithms=["HS256"])
    return claims


def test_a_traders_token_names_the_trader(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = StackFolder(tmp_path / "data").secret()
    assert tokens.main(["--user", "jane", "--data", str(tmp_path / "data"), "--hours", "2"]) == 0
    claims = claims_of(capsys.readouterr().out, secret)
    assert (claims["sub"], claims["role"]) == ("jane", "trader")
    assert claims["exp"] == pytest.approx(time.time() + 2 * 3600, abs=60)
    assert claims["iat"] == pytest.approx(time.time(), abs=60)


def test_an_operators_token_is_the_operators(capsys: pytest.CaptureFixture[str]) -> None:
    secret = StackFolder(Path(".data")).secret()
    assert tokens.main(["--operator"]) == 0
    claims = claims_of(capsys.readouterr().out, secret)
    assert (claims["sub"], claims["role"]) == ("operator", "operator")
    assert claims["exp"] == pytest.approx(time.time() + 24 * 3600, abs=60)


def test_a_link_to_the_page_carries_the_token_where_no_server_sees_it(capsys: pytest.CaptureFixture[str]) -> None:
    secret = StackFolder(Path(".data")).secret()
    assert tokens.main(["--user", "jane", "--link", "http://127.0.0.1:8000/"]) == 0
    address, _, token = capsys.readouterr().out.partition("#token=")
    assert address == "http://127.0.0.1:8000/"
    assert claims_of(token, secret)["sub"] == "jane"


def test_without_a_stack_the_environments_secret_is_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTH_SECRET", SECRET)
    assert tokens.main(["--user", "jane"]) == 0
    assert claims_of(capsys.readouterr().out, SECRET)["sub"] == "jane"


def test_a_secret_that_no_server_takes_signs_nothing_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTH_SECRET", "swordfish")
    assert tokens.main(["--user", "jane"]) == 2
    wanted = "setting AUTH_SECRET: got '9 bytes', takes a random secret of at least 32 bytes\n"
    assert capsys.readouterr() == ("", wanted)


def test_without_any_secret_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert tokens.main(["--operator"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "no stack was started there yet" in printed.err
    assert "AUTH_SECRET" in printed.err


def test_a_named_folder_without_a_secret_is_not_replaced_by_another_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTH_SECRET", SECRET)
    assert tokens.main(["--operator", "--data", "mistyped"]) == 2
    assert "mistyped has no secret" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "a b", "a" * 65, "jané", "a/b", "jane\n"])
def test_a_name_that_no_user_can_have_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    StackFolder(Path(".data")).secret()
    assert tokens.main(["--user", name]) == 2
    assert "1 to 64 of A-Z a-z 0-9 _ -" in capsys.readouterr().err


def test_a_renewed_token_is_made_anew_when_half_of_its_life_is_over() -> None:
    made = iter(["first", "second", "third"])
    seconds = [0.0]
    token = RenewedToken(lambda: next(made), hours=24.0, now=lambda: seconds[0])
    current = []
    for at_hours in (0, 11.9, 12, 23.9, 24):
        seconds[0] = at_hours * 3600
        current.append(token.current())
    assert current == ["first", "first", "second", "second", "third"]
