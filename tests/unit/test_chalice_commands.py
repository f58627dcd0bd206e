"""Which of Chalice's commands needs the settings."""

import pytest

from chalicelib.config.chalice_commands import chalice_command, option

CLI = {"AWS_CHALICE_CLI_MODE": "true"}


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("chalice local", "local"),
        ("/venv/bin/chalice --debug --project-dir local local --port 9000", "local"),
        ("chalice deploy --stage local", "deploy"),
        ("chalice --project-dir local package out", "package"),
        ("chalice", None),
        ("pytest local", None),
    ],
)
def test_the_command_of_chalice_is_told_before_the_app_is_loaded(line: str, command: str | None) -> None:
    assert chalice_command(line.split(), CLI) == command
    assert chalice_command(line.split(), {}) is None


@pytest.mark.parametrize(
    ("line", "stage"),
    [("deploy --stage prod", "prod"), ("deploy --stage=prod --profile x", "prod"), ("deploy --stages prod", None)],
)
def test_an_option_is_read_in_both_forms(line: str, stage: str | None) -> None:
    assert option(line.split(), "--stage") == stage
