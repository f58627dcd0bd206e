"""Generated workloads with the format and mix of recorded ones; the same seed gives the same workload.

The mix and the sequences were counted in recorded workloads of 10,000 commands: half of all orders are committed by the
next command, two thirds of all trigger amounts get their price at once, and commits, cancels and triggers also come
with nothing to work on, so that rejections are part of the load. Each command is any user's, from the first on; of ten
users each has a tenth of the commands, give or take 4 %.
"""

import random
import string
from collections.abc import Iterator

from loadgen.workload.commands import COMMANDS
from loadgen.workload.files import Command

BASE_MIX: dict[str, int] = {
    "ADD": 732,
    "QUOTE": 1064,
    "BUY": 1019,
    "COMMIT_BUY": 461,
    "CANCEL_BUY": 427,
    "SELL": 685,
    "COMMIT_SELL": 499,
    "CANCEL_SELL": 436,
    "SET_BUY_AMOUNT": 267,
    "SET_BUY_TRIGGER": 284,
    "CANCEL_SET_BUY": 444,
    "SET_SELL_AMOUNT": 295,
    "SET_SELL_TRIGGER": 276,
    "CANCEL_SET_SELL": 495,
    "DISPLAY_SUMMARY": 724,
}
"""How often each command comes, if it does not follow from the command before it."""

FOLLOWERS: dict[str, dict[str, float]] = {
    "BUY": {"COMMIT_BUY": 0.46, "CANCEL_BUY": 0.06},
    "SELL": {"COMMIT_SELL": 0.46, "CANCEL_SELL": 0.07},
    "SET_BUY_AMOUNT": {"SET_BUY_TRIGGER": 0.68, "CANCEL_SET_BUY": 0.06},
    "SET_SELL_AMOUNT": {"SET_SELL_TRIGGER": 0.68, "CANCEL_SET_SELL": 0.05},
    "QUOTE": {"BUY": 0.26, "QUOTE": 0.10},
}
"""How likely the same user's next command follows from this one; a follower has the same symbol."""

MAX_ORDER_CENTS = 75_000
MEAN_ADD_CENTS, DEVIATION_ADD_CENTS = 7_000_000, 1_500_000
MAX_SYMBOLS = sum(26**length for length in (1, 2, 3))
"""How many different symbols there are."""


class GenerateError(ValueError):
    """Numbers for which there is no workload."""


def generate(users: int, commands: int, symbols: int, seed: int) -> Iterator[Command]:
    """Return the commands of a workload, the last one a DUMPLOG of all users. Raises GenerateError."""
    if users < 1:
        raise GenerateError("users must be at least 1")
    if commands < users + 1:
        raise GenerateError(f"commands must be at least {users + 1}: an ADD for each of {users} users, and the DUMPLOG")
    if not 1 <= symbols <= MAX_SYMBOLS:
        raise GenerateError(f"symbols must be from 1 to {MAX_SYMBOLS}")
    return _commands(users, commands, symbols, random.Random(seed))  # noqa: S311 (a workload is no secret)


def _commands(users: int, commands: int, symbols: int, source: random.Random) -> Iterator[Command]:
    traders = [_Trader(name, source) for name in _names(users, source)]
    listed = _symbols(symbols, source)
    last = commands - 1
    for transaction, trader in enumerate(_turns(traders, last, source), 1):
        yield trader.next_command(transaction, listed)
    yield Command(commands, "DUMPLOG", None, None, "./testLOG")


class _Trader:
    """One user of the workload: remembers its previous command, from which the next one may follow."""

    __slots__ = ("_previous", "_source", "_user")

    def __init__(self, user: str, source: random.Random) -> None:
        self._user = user
        self._source = source
        self._previous: Command | None = None

    def next_command(self, transaction: int, symbols: list[str]) -> Command:
        name, symbol = self._next_name()
        form = COMMANDS[name].fields
        if "symbol" not in form:
            symbol = None
        elif symbol is None:
            symbol = self._source.choice(symbols)
        self._previous = Command(transaction, name, self._user, symbol, self._value(name))
        return self._previous

    def _next_name(self) -> tuple[str, str | None]:
        """Return the name of the next command, and its symbol if it follows from the previous command."""
        if self._previous is None:
            return "ADD", None
        chance = self._source.random()
        for follower, likelihood in FOLLOWERS.get(self._previous.name, {}).items():
            chance -= likelihood
            if chance < 0:
                return follower, self._previous.symbol
        return self._source.choices(_BASE_NAMES, cum_weights=_BASE_WEIGHTS)[0], None

    def _value(self, name: str) -> str | None:
        source = self._source
        match COMMANDS[name].fields[-1]:
            case "amount" if name == "ADD":
                cents = max(1, round(source.gauss(MEAN_ADD_CENTS, DEVIATION_ADD_CENTS)))
            case "amount":
                cents = source.randint(1, MAX_ORDER_CENTS)
            case "price":
                cents = source.randint(1, 20_000 if source.random() < 0.87 else 70_000)
            case _:
                return None
        return f"{cents // 100}.{cents % 100:02d}"


_BASE_NAMES = list(BASE_MIX)
_BASE_WEIGHTS = [sum(list(BASE_MIX.values())[: index + 1]) for index in range(len(BASE_MIX))]


def _turns(traders: list[_Trader], count: int, source: random.Random) -> Iterator[_Trader]:
    """Yield whose turn it is: any user's, each time; every user has at least one turn."""
    sure = dict(zip(source.sample(range(count), len(traders)), traders, strict=True))
    for turn in range(count):
        yield sure.get(turn) or source.choice(traders)


def _names(count: int, source: random.Random) -> list[str]:
    letters = string.ascii_letters + string.digits
    names: dict[str, None] = {}
    while len(names) < count:
        names["".join(source.choices(letters, k=10))] = None
    return list(names)


def _symbols(count: int, source: random.Random) -> list[str]:
    """Return different symbols of 1 to 3 letters: mostly 3, as on an exchange, shorter ones when these run out."""
    symbols: dict[str, None] = {}
    for length, available in ((3, 26**3), (2, 26**2), (1, 26)):
        wanted = min(count - len(symbols), available)
        if wanted * 2 > available:
            every = [_spelled(number, length) for number in range(available)]
            symbols.update(dict.fromkeys(source.sample(every, wanted)))
            continue
        target = len(symbols) + wanted
        while len(symbols) < target:
            symbols[_spelled(source.randrange(available), length)] = None
    return list(symbols)


def _spelled(number: int, length: int) -> str:
    letters = []
    for _ in range(length):
        number, letter = divmod(number, 26)
        letters.append(string.ascii_uppercase[letter])
    return "".join(letters)
