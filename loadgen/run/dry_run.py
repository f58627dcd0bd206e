"""What a replay would send, without sending it."""

from collections import Counter

from rich.console import Console

from loadgen.run.pacing import Pacing
from loadgen.run.server import Server
from loadgen.workload.files import Workload
from loadgen.workload.streams import Shard, owned

_SHOWN = 10


def print_plan(
    workload: Workload, server: Server, processes: int, pacing: Pacing, shard: Shard, console: Console
) -> None:
    """Print how many commands of how many users would be sent where, and the first requests."""
    commands, users = workload.commands, workload.users()
    dialect = server.dialect()
    counts = Counter(command.name for command in commands)
    alone = sum(command.user is None for command in commands)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    say(f"{len(commands):,} commands of {len(users):,} users would be sent to {server.target.url}; nothing was sent.")
    say("  " + ", ".join(f"{name} {count:,}" for name, count in counts.most_common()))
    if alone:
        say(f"  {alone:,} of them without a user: each waits for all commands before it and holds back all after it")
    if pacing.schedule is not None:
        say(f"  on schedule, {pacing.schedule.words()}: {pacing.planned_end_s:,.1f} s")
    if pacing.duration_s is not None:
        say(f"  no command is started after {pacing.duration_s:,.1f} s")
    if processes > 1:
        parts = [owned(shard, Shard(number, processes)) for number in range(processes)]
        shares = [sum(map(is_mine, users)) for is_mine in parts]
        say(f"  by {processes} processes: {', '.join(f'{share:,}' for share in shares)} users")
    say("First commands:")
    for command in commands[:_SHOWN]:
        method, path = dialect.request_line(command)
        say(f"  [{command.transaction}] {method} {path}")
    if len(commands) > _SHOWN:
        say(f"  and {len(commands) - _SHOWN:,} more")
