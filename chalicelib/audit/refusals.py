"""Why a log can never be written: reported at once, and again if its DUMPLOG is repeated."""

from collections.abc import Mapping

from pymongo.errors import OperationFailure

from chalicelib.audit.places import Place
from chalicelib.domain.errors import DumpQuotaError, IndexConflictError, NotSupportedError, PermanentError
from chalicelib.store.documents import Document
from chalicelib.store.writers import CONFLICTING_INDEX, index_conflict

_UNSUPPORTED = frozenset({292, 303, 304, 40324})
"""No sort on disk (292), or stages and features that a database lacks: DocumentDB's (303, 304), MongoDB's (40324)."""

_ATLAS, _DISK_USE = 8000, "allowdiskuse"
"""The code of everything that a tier of Atlas does not allow."""

_KINDS = {kind.code: kind for kind in (DumpQuotaError, IndexConflictError, NotSupportedError)}


def refusal_of(error: BaseException) -> PermanentError | None:
    """Return why a log that failed with this error can never be written, or None if a retry may succeed."""
    if isinstance(error, PermanentError):
        return error
    if not isinstance(error, OperationFailure):
        return None
    if error.code in CONFLICTING_INDEX:
        return index_conflict(error)
    if error.code in _UNSUPPORTED or (error.code == _ATLAS and _DISK_USE in str(error).lower()):
        return NotSupportedError("the database cannot sort the log of all users: have those of single users written")
    return None


def refusal_document(refusal: PermanentError) -> Mapping[str, str]:
    """Return a refusal as it is stored."""
    return {"code": refusal.code, "message": str(refusal)}


def refusal_from(document: Mapping[str, str]) -> PermanentError:
    """Return the refusal that was stored."""
    return _KINDS[document["code"]](document["message"])


class Quota:
    """How many bytes of a dump were written, and how many there may be beside the user's other logs."""

    def __init__(self, place: Place, dump: Document) -> None:
        self._place = place
        self._file: str = dump["file"]
        self._most: int | None = dump.get("most")
        self.written: int = dump.get("bytes", 0)

    def counted(self, piece: bytes) -> bytes:
        """Return a piece after counting it; raises DumpQuotaError if it exceeds the quota."""
        self.written += len(piece)
        if self._most is not None:
            others = self._place.size(self._file.rpartition("/")[0], without=self._file)
            if others + self.written > self._most:
                raise DumpQuotaError(
                    f"the logs of one user may take {self._most / 1e6:g} MB, and the others of this one take "
                    f"{others / 1e6:.1f}: give the name of an older one, to write over it"
                )
        return piece
