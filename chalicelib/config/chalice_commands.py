"""Which of Chalice's commands need settings: without them `chalice local` and `chalice deploy` would seem to work.

The one would say that it serves, the other that all is deployed, and both would answer 5xx to everything.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

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
_CONFIGURATION = Path(__file__).parents[2] / ".chalice/config.json"


def chalice_command(arguments: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Return the command of `chalice` that this process is, None when it is none."""
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
    """End the process with a sentence a setting, when it is to serve or deploy and some are missing or wrong."""
    command = chalice_command(sys.argv, os.environ)
    try:
        if command == "local":
            usage = _LOCAL
            read_settings(with_secrets(os.environ))
        elif command == "deploy":
            stage = _stage(sys.argv)
            usage = _DEPLOYED.replace("{stage}", stage)
            _check_deployment(json.loads(_CONFIGURATION.read_text()), stage)
    except SettingError as error:
        sys.stderr.write(usage.format(errors=error))
        sys.stderr.flush()
        # Chalice loads the app on a thread when it reloads it on changes; only this ends the process from there.
        os._exit(_EXIT_STATUS)


def _stage(arguments: Sequence[str]) -> str:
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument == "--stage":
            return following
        if argument.startswith("--stage="):
            return argument.partition("=")[2]
    return "dev"


def _check_deployment(configuration: Any, stage: str) -> None:
    """Raise SettingError unless the functions of a stage would have what they need: not what this process has."""
    its_own = configuration["stages"].get(stage, {}).get("environment_variables", {})
    given = {**configuration.get("environment_variables", {}), **its_own}
    for name in filter(None, map(str.strip, given.get("SECRET_IDS", "").split(","))):
        given |= _secret(name)
    place = read_settings(given).dump_place
    if not place.startswith("s3://"):
        raise SettingError("DUMP_PLACE", place, "s3://bucket/prefix: a folder in Lambda does not last")


def _secret(name: str) -> dict[str, str]:
    """Return what a secret holds, read with the deployer's credentials, which may be anything that boto3 takes."""
    import boto3  # type: ignore[import-untyped]  # noqa: PLC0415  # a function has no need of it here
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        held = json.loads(boto3.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
        return {str(key): str(value) for key, value in dict(held).items()}
    except (KeyError, TypeError, json.JSONDecodeError):
        reason = "it is not a JSON object"
    except (BotoCoreError, ClientError, ValueError) as error:
        reason = str(error)
    takes = f"names or ARNs of secrets of AWS, with commas between, that can be read ({reason})"
    raise SettingError("SECRET_IDS", name, takes)
