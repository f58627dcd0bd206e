"""Where audit logs are written."""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path


class Folder:
    """A local folder: the logs of all users under `all/`, those of one user under `users/NAME/`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, owner: str | None, filename: str, pieces: Iterable[str]) -> str:
        """Write a log and return its absolute path; a log of the same name is replaced as a whole.

        It is written beside its final name first, so that a dump that fails leaves no half file that looks whole.
        Raises OSError.
        """
        folder = self._root / "all" if owner is None else self._root / "users" / owner
        folder.mkdir(parents=True, exist_ok=True)
        path = (folder / filename).absolute()
        unfinished = path.with_name(f".{filename}.{secrets.token_hex(8)}.part")
        try:
            with unfinished.open("w", encoding="utf-8", buffering=1 << 20) as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return str(path)
