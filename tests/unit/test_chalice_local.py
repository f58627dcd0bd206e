"""Which of Chalice's commands needs the settings."""

import pytest

from chalicelib.config.chalice_local import is_chalice_local

CLI = {"AWS_CHALICE_CLI_MODE": "true"}


@pytest.mark.parametrize(
    ("line", "needs"),
    [
        ("chalice local", True),
        ("/venv/bin/chalice --debug --project-dir local local --port 9000", True),
        ("chalice deploy --stage local", False),
        ("chalice --project-dir local package out", False),
        ("chalice", False),
        ("pytest local", False),
    ],
)
def test_only_chalice_local_needs_settings_before_the_app_is_loaded(line: str, needs: bool) -> None:
    assert is_chalice_local(line.split(), CLI) is needs
    assert not is_chalice_local(line.split(), {})
