"""The common part of most sections."""

from dataclasses import dataclass

from infra.bench.context import Bench


@dataclass(frozen=True)
class Plain:
    """A section without state between rounds."""

    name: str = ""
    measures: str = ""
    seconds: float = 1.0
    once: bool = False

    def set_up(self, bench: Bench) -> None:  # subclasses use it
        """Prepare nothing."""
