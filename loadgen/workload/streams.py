"""A workload as streams that may run in parallel, and which process of which machine sends each."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from loadgen.workload.files import Command


@dataclass(frozen=True, slots=True)
class Stream:
    """Commands that must be sent in order, each with its position in the workload, from 0."""

    positions: "array[int]"
    commands: list[Command]

    def __iter__(self) -> Iterator[tuple[int, Command]]:
        return zip(self.positions, self.commands, strict=True)


class Shard(NamedTuple):
    """One of `of` equal shards of the users, counted from 0."""

    number: int
    of: int

    def spell(self) -> str:
        """Return the shard as `--shard` takes it, counted from 1."""
        return f"{self.number + 1}/{self.of}"


WHOLE = Shard(0, 1)


def owner(user: str | None, shard: Shard = WHOLE) -> int | None:
    """Return a number that says which process of a machine sends a user's commands, None if another machine does.

    It is the same on every machine: a CRC of the name. Commands without a user belong to the first machine.
    """
    value = 0 if user is None else crc32(user.encode())
    return value // shard.of if value % shard.of == shard.number else None


Owned = Callable[[str | None], bool]


def owned(shard: Shard, process: Shard = WHOLE) -> Owned:
    """Return a function that says whether a process of a machine sends a user's commands."""

    def is_owned(user: str | None) -> bool:
        number = owner(user, shard)
        return number is not None and number % process.of == process.number

    return is_owned


def stages(commands: Sequence[Command]) -> Iterator[list[Stream]]:
    """Yield the streams that may run in parallel: one per user; a command without a user is a stage of its own."""
    streams: dict[str, Stream] = {}
    for position, command in enumerate(commands):
        if command.user is not None:
            stream = streams.get(command.user)
            if stream is None:
                stream = streams[command.user] = Stream(array("q"), [])
            stream.positions.append(position)
            stream.commands.append(command)
            continue
        if streams:
            yield list(streams.values())
            streams = {}
        yield [Stream(array("q", [position]), [command])]
    if streams:
        yield list(streams.values())
