"""Which `chalice` commands need settings: without them `chalice local` and `chalice deploy` would seem to work.

One would serve and the other deploy, and both would answer 5xx to everything.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from chalicelib.config.settings import SettingError, read_settings, with_secrets

_LOCAL = """\
{errors}
Set them, or take those of a running stack: eval "$(.venv/bin/python -m infra.local env)"
"""
_DEPLOYED = """\
{errors}
Nothing was deployed. Set them in environment_variables of the stage {stage} in .chalice/config.json,
or in a secret that SECRET_IDS names there (docs/operations.md)
"""
_EXIT_STATUS = 2
_CONFIGURATION = Path(__file__).parents[2] / ".chalice"


def chalice_command(arguments: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Return the `chalice` command that this process runs, or None."""
    if "AWS_CHALICE_CLI_MODE" not in environment or PurePath(arguments[0]).stem != "chalice":
        return None
    rest = iter(arguments[1:])
    for argument in rest:
        if argument == "--project-dir":
            next(rest, None)
        elif not argument.startswith("-"):
            return argument
    return None


def stop_without_settings() -> None:
    """Exit with one line per bad setting, if the command serves or deploys and some are missing or wrong."""
    command = chalice_command(sys.argv, os.environ)
    try:
        if command == "local":
            usage = _LOCAL
            read_settings(with_secrets(os.environ))
        elif command == "deploy":
            from chalicelib.config.deployment import check_deployment  # noqa: PLC0415  # a function has no need of it

            stage = option(sys.argv, "--stage") or "dev"
            usage = _DEPLOYED.replace("{stage}", stage)
            check_deployment(_CONFIGURATION, stage, option(sys.argv, "--profile"))
    except SettingError as error:
        sys.stderr.write(usage.format(errors=error))
        sys.stderr.flush()
        # Chalice loads the app on a thread when it reloads it after a change; only this ends the process from there.
        os._exit(_EXIT_STATUS)


def option(arguments: Sequence[str], name: str) -> str | None:
    """Return the value of a command line option, or None if it is not given."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument == name:
            return following
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
    return None
