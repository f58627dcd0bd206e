"""How much each section does, normally and in a quick run that only tests whether everything works."""

from dataclasses import dataclass

FEW = 1
"""The triggers, or pending orders, of the account that a large one is compared with."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of a run; a record has them, since figures of other sizes cannot be compared.

    `populations` are (users, commands) of the replays; `users` and `commands` are those of the workload that everything
    else uses, that of `make replay`.
    """

    users: int
    commands: int
    populations: tuple[tuple[int, int], ...]
    symbols: int
    seed: int
    workers: tuple[int, ...]
    quote_symbols: int
    quote_reads: int
    dump_users: int
    dump_commands: int
    pasts: tuple[int, ...]
    past_commands: int
    systems: tuple[int, ...]
    active_users: int
    system_commands: int
    sweeps: int
    shared_users: int
    containers: tuple[int, ...]
    function_commands: int
    cold_starts: int
    memories_mb: tuple[int, ...]
    quota_commands: int
    sustained: tuple[int, int]
    large_triggers: int
    large_orders: int
    large_commands: int


FULL = Sizes(
    users=45,
    commands=10_000,
    populations=((10, 10_000), (45, 10_000), (100, 10_000), (1_000, 10_000), (1_200, 10_000)),
    symbols=50,
    seed=1,
    workers=(1, 2, 4),
    quote_symbols=2_000,
    quote_reads=10_000,
    dump_users=1_000,
    dump_commands=60_000,
    pasts=(10, 1_000, 100_000),
    past_commands=500,
    systems=(1_000, 1_000_000),
    active_users=1_000,
    system_commands=5_000,
    sweeps=5,
    shared_users=100,
    containers=(1, 2, 8),
    function_commands=2_000,
    cold_starts=3,
    memories_mb=(512, 1_024, 1_769),
    quota_commands=1_000,
    sustained=(1_000, 1_000_000),
    large_triggers=600,
    large_orders=5_000,
    large_commands=300,
)

QUICK = Sizes(
    users=5,
    commands=200,
    populations=((2, 100), (5, 200)),
    symbols=5,
    seed=1,
    workers=(1, 2),
    quote_symbols=20,
    quote_reads=100,
    dump_users=10,
    dump_commands=300,
    pasts=(10, 100),
    past_commands=20,
    systems=(20, 200),
    active_users=10,
    system_commands=50,
    sweeps=1,
    shared_users=4,
    containers=(1, 2),
    function_commands=60,
    cold_starts=1,
    memories_mb=(512,),
    quota_commands=60,
    sustained=(5, 300),
    large_triggers=5,
    large_orders=20,
    large_commands=10,
)
