"""Which commands of a workload are sent: some users, from a command on, a limited number, one machine's shard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from loadgen.workload.files import MAX_TRANSACTION, Command, Workload
from loadgen.workload.streams import WHOLE, Shard, owner


class SelectionError(Exception):
    """A selection that does not fit the workload."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The selection, applied in this order: some users, `repeat` times, from a command on, `limit` of them, one shard.

    `users` None is all; with some users, commands without a user are left out. `start` is the number of the first
    command.
    """

    users: Sequence[str] | None = None
    start: int | None = None
    limit: int | None = None
    shard: Shard = WHOLE
    repeat: int = 1

    def choose(self, workload: Workload) -> Workload:
        """Return the selection before sharding. Raises SelectionError."""
        commands = workload.commands
        if self.users is not None:
            wanted, known = set(self.users), set(workload.users())
            if unknown := sorted(wanted - known):
                raise SelectionError(f"{workload.source} has no commands of {', '.join(unknown)}")
            commands = [command for command in commands if command.user in wanted]
        if self.repeat > 1:
            commands = _repeated(commands, self.repeat)
        if self.start is not None:
            numbers = (position for position, command in enumerate(commands) if command.transaction == self.start)
            position = next(numbers, None)
            if position is None:
                where = "among the commands of these users" if self.users is not None else f"in {workload.source}"
                raise SelectionError(f"there is no command [{self.start}] {where}")
            commands = commands[position:]
        if self.limit is not None:
            commands = commands[: self.limit]
        return Workload(workload.source, commands)

    def part(self, chosen: Workload) -> Workload:
        """Return this machine's shard of the selection."""
        if self.shard.of == 1:
            return chosen
        mine = [command for command in chosen.commands if owner(command.user, self.shard) is not None]
        return Workload(chosen.source, mine)

    def figures(self) -> dict[str, Any]:
        """Return the selection as a JSON object that `read` understands."""
        users = None if self.users is None else list(self.users)
        return {
            "users": users,
            "from_transaction": self.start,
            "limit": self.limit,
            "shard": self.shard.spell(),
            "repeat": self.repeat,
        }

    @classmethod
    def read(cls, figures: Mapping[str, Any]) -> Self:
        """Return the selection with these figures. Raises KeyError and ValueError for invalid input."""
        number, of = figures["shard"].split("/")
        shard = Shard(int(number) - 1, int(of))
        return cls(figures["users"], figures["from_transaction"], figures["limit"], shard, figures.get("repeat", 1))


def _repeated(commands: Sequence[Command], times: int) -> list[Command]:
    """Return commands several times, with numbers in each round above all those before."""
    span = max((command.transaction for command in commands), default=0)
    if span * times > MAX_TRANSACTION:
        raise SelectionError(f"the numbers of {times} rounds would pass {MAX_TRANSACTION}")
    moments = [at_ms for command in commands if (at_ms := _recorded_at(command)) is not None]
    length_ms = max(moments, default=0) - min(moments, default=0) + 1
    repeated = []
    for number in range(times):
        for command in commands:
            changes: dict[str, Any] = {"transaction": command.transaction + span * number}
            if (at_ms := _recorded_at(command)) is not None:
                changes["at_ms"] = at_ms + length_ms * number
            repeated.append(command._replace(**changes))
    return repeated


def _recorded_at(command: Command) -> int | None:
    """Return when a request was recorded; commands have no such time."""
    found: int | None = getattr(command, "at_ms", None)
    return found


EVERYTHING = Selection()
"""All commands of a workload."""
