"""`chalice local` without the settings that the app needs would say that it serves, and answer 500 to everything."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from chalicelib.config.settings import SettingError, read_settings, with_secrets

_USAGE = """\
{errors}
Set them, or take those of a running stack: eval "$(.venv/bin/python -m infra.local env)"
"""
_EXIT_STATUS = 2


def is_chalice_local(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Tell whether this process is `chalice local`: its other commands load the app, too, and need no settings."""
    if "AWS_CHALICE_CLI_MODE" not in environment or PurePath(arguments[0]).stem != "chalice":
        return False
    rest = iter(arguments[1:])
    for argument in rest:
        if argument == "--project-dir":
            next(rest, None)
        elif not argument.startswith("-"):
            return argument == "local"
    return False


def stop_without_settings() -> None:
    """End the process with a sentence a setting, when it is `chalice local` and some are missing or wrong."""
    if not is_chalice_local(sys.argv, os.environ):
        return
    try:
        read_settings(with_secrets(os.environ))
    except SettingError as error:
        sys.stderr.write(_USAGE.format(errors=error))
        sys.stderr.flush()
        # Chalice loads the app on a thread when it reloads it on changes; only this ends the process from there.
        os._exit(_EXIT_STATUS)
