"""Whether a command costs more on an account with many triggers or pending orders."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice, product
from pathlib import Path
from string import ascii_uppercase

from infra.bench.context import Bench
from infra.bench.figures import MORE, Measured
from infra.bench.replays import Replayed, bench_stack, replay_on, write_workload
from infra.bench.sections.base import Plain
from infra.bench.sizes import FEW
from infra.local.background import BackgroundStack
from loadgen.workload.files import Command

_CASH = "90000000.00"

_Line = tuple[str, str | None, str]
"""A command's name, symbol and value."""


@dataclass(frozen=True)
class LargeAccounts(Plain):
    """One user's commands on an account with much in it, beside the same on one with little."""

    name: str = "large"
    measures: str = "a trigger set, and shares bought, on accounts with many triggers or pending orders and with one"
    seconds: float = 30.0

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Fill each account, then send its user's commands, one after the other."""
        sizes, found = bench.sizes, []
        most = {"MAX_ORDERS": str(sizes.large_orders + sizes.large_commands)}
        with bench_stack(bench.folder / self.name / str(bench.round), environment=most) as stack:
            for count in (FEW, sizes.large_triggers):
                bench.say(f"an account with {count:,} trigger{'s' * (count > 1)}")
                filled = [*_lines("SET_BUY_AMOUNT", count, count), *_lines("SET_BUY_TRIGGER", count, count)]
                lines = _lines("SET_BUY_TRIGGER", sizes.large_commands, count, first=1)
                rate = _send(bench, stack, f"triggers{count}", filled, lines).rate
                found.append(Measured(f"triggers.{count}", f"SET_BUY_TRIGGER, triggers: {count:,}", rate, "/s", MORE))
            for count in (FEW, sizes.large_orders):
                bench.say(f"an account with {count:,} pending order{'s' * (count > 1)}")
                filled, lines = (_lines("BUY", many, 1) for many in (count, sizes.large_commands))
                rate = _send(bench, stack, f"orders{count}", filled, lines).rate
                found.append(Measured(f"orders.{count}", f"BUY, pending orders: {count:,}", rate, "/s", MORE))
        return found


def _lines(name: str, count: int, symbols: int, first: int = 0) -> list[_Line]:
    """Return commands for so many symbols in turn, with values that differ, as those of real accounts do.

    With one price for all 600 triggers MongoDB took longer to set one: 0.6 of the rate with one trigger, not 0.8.
    """
    names = cycle(_symbols(symbols))
    return [
        (name, symbol, f"{(first + place) % 90 + 10}.00") for symbol, place in zip(names, range(count), strict=False)
    ]


def _symbols(count: int) -> list[str]:
    return ["".join(letters) for letters in islice(product(ascii_uppercase, repeat=3), count)]


def _send(
    bench: Bench, stack: BackgroundStack, account: str, before: Sequence[_Line], lines: Sequence[_Line]
) -> Replayed:
    """Send a user's lines after those that fill the account; both are verified. Return the figures of `lines`."""
    user = f"{account}x{bench.round}"
    for part in ([("ADD", None, _CASH), *before], lines):
        workload = Path(bench.folder, "large.txt")
        commands = (Command(number, name, user, symbol, value) for number, (name, symbol, value) in enumerate(part, 1))
        write_workload(workload, commands)
        found = replay_on(stack, bench.folder, workload, more=("--no-log",))
    return found
