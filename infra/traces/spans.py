"""A span, as far as it is looked at here, and as a line of JSON."""

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Span:
    """A span. Its ids, and that of its parent, are hexadecimal; `parent` is empty for the first span of a trace.

    `service` is whose it is, `instance` which process of that; `failed` says that its status is an error.
    """

    trace: str
    id: str
    parent: str
    name: str
    service: str
    instance: str
    start_ns: int
    end_ns: int
    failed: bool
    attributes: dict[str, Any]

    def line(self) -> str:
        """Return it as a line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":")) + "\n"


def from_line(line: str) -> Span:
    """Return the span that `Span.line` wrote; raises ValueError and TypeError for anything else."""
    return Span(**json.loads(line))
