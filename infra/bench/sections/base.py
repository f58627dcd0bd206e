"""What most sections have in common."""

from dataclasses import dataclass

from infra.bench.context import Bench


@dataclass(frozen=True)
class Plain:
    """A section that keeps nothing from round to round."""

    name: str = ""
    measures: str = ""
    seconds: float = 1.0
    once: bool = False

    def set_up(self, bench: Bench) -> None:  # others use it
        """Make nothing."""
