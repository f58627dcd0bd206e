"""A span, with the fields used here, and its line of JSON."""

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Span:
    """A span. Its id and its parent's are hexadecimal; `parent` is empty for the root span of a trace.

    `service` and `instance` say which process it is from; `failed` means that its status is an error.
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
        """Return the span as a line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":")) + "\n"


def from_line(line: str) -> Span:
    """Return the span that `Span.line` wrote; raises ValueError and TypeError for anything else."""
    return Span(**json.loads(line))
