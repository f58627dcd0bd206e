"""Folders named by the user: created if missing, with a clear error if that fails."""

import os
from pathlib import Path


class FolderError(Exception):
    """A folder that cannot be used; says why."""


def make_folder(path: Path, mode: int = 0o777) -> Path:
    """Return the folder with all links resolved, created if missing; raises FolderError."""
    try:
        folder = path.resolve()
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
    except FileExistsError:
        raise FolderError(f"{path} is a file, not a folder") from None
    except NotADirectoryError:
        raise FolderError(f"{path} cannot be created: a part of its path is a file") from None
    except (OSError, RuntimeError) as error:
        raise FolderError(f"{path} cannot be created: {getattr(error, 'strerror', None) or error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FolderError(f"{path} cannot be written to")
    return folder
