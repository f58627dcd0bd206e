"""Folders that somebody names: made where they are missing, and refused in a sentence where that cannot be."""

import os
from pathlib import Path


class FolderError(Exception):
    """A folder that cannot be used; says why."""


def make_folder(path: Path, mode: int = 0o777) -> Path:
    """Return the folder with all links resolved, made if it is not there; raises FolderError."""
    try:
        folder = path.resolve()
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
    except FileExistsError:
        raise FolderError(f"{path} is a file, not a folder") from None
    except NotADirectoryError:
        raise FolderError(f"{path} cannot be made: a part of its path is a file") from None
    except (OSError, RuntimeError) as error:
        raise FolderError(f"{path} cannot be made: {getattr(error, 'strerror', None) or error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FolderError(f"{path} cannot be written to")
    return folder
