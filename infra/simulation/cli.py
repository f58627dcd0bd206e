"""The command line: simulate many schedules, or repeat one.

python -m infra.simulation --count 5000
python -m infra.simulation --seed 4711

Exit status 0 if every schedule was survived; else 1, and the command that shows the first one that was not.
"""

import argparse
import logging
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from infra.host.arguments import add_examples, positive
from infra.simulation.judge import findings
from infra.simulation.schedule import SimulatedSchedule, Size

_CHUNK = 50


@dataclass(frozen=True, slots=True)
class _Tried:
    """The result of some schedules: how long they were, and what was wrong with the first that was not survived."""

    count: int
    steps: int
    seed: int = 0
    wrong: Sequence[str] = ()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parse(arguments)
    size = Size(options.users, options.commands, options.servers)
    logging.disable(logging.CRITICAL)  # the servers' messages about injected faults
    try:
        return _show(options.seed, size) if options.seed is not None else _try_many(options, size)
    finally:
        logging.disable(logging.NOTSET)


def _try_many(options: argparse.Namespace, size: Size) -> int:
    began = time.monotonic()
    count = steps = 0
    for tried in _try_all(range(options.first, options.first + options.count), size, options.processes):
        count, steps = count + tried.count, steps + tried.steps
        if tried.wrong:
            print("\n".join(tried.wrong), file=sys.stderr)
            sizes = f"--users {size.users} --commands {size.commands} --servers {size.servers}"
            print(f"again: python -m infra.simulation --seed {tried.seed} {sizes}", file=sys.stderr)
            return 1
        if sys.stderr.isatty():
            print(f"\r{count:,} of {options.count:,} schedules survived", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    minutes = (time.monotonic() - began) / 60
    print(f"{count:,} schedules of {steps:,} steps survived, {count / minutes:,.0f} a minute")
    return 0


def _show(seed: int, size: Size) -> int:
    schedule = SimulatedSchedule(seed, size, say=print)
    wrong = _wrong(schedule)
    print("\n".join(wrong) or "all is well")
    return 1 if wrong else 0


def _wrong(schedule: SimulatedSchedule) -> Sequence[str]:
    """Return the findings, including what the models cannot do and the judge cannot read."""
    try:
        schedule.run()
        return findings(schedule)
    except Exception:  # noqa: BLE001 (of whatever kind: it has a seed that shows it again)
        return [traceback.format_exc()]


def _try_all(seeds: range, size: Size, processes: int) -> Iterator[_Tried]:
    chunks = [seeds[start : start + _CHUNK] for start in range(0, len(seeds), _CHUNK)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, logging.disable, (logging.CRITICAL,)) as pool:
        try:
            yield from pool.map(partial(_try, size=size), chunks)
        finally:
            pool.shutdown(cancel_futures=True)


def _try(seeds: range, size: Size) -> _Tried:
    steps = 0
    for seed in seeds:
        schedule = SimulatedSchedule(seed, size)
        if wrong := _wrong(schedule):
            return _Tried(seed - seeds.start + 1, steps, seed, wrong)
        steps += schedule.steps
    return _Tried(len(seeds), steps)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.simulation", description=__doc__)
    add_examples(parser, "python -m infra.simulation --count 5000", "python -m infra.simulation --seed 4711")
    size = Size()
    parser.add_argument("--seed", type=int, help="run only this schedule, and print every step")
    parser.add_argument("--first", type=int, default=1, help="seed of the first of many (%(default)s)")
    parser.add_argument("--count", type=positive, default=5_000, help="how many (%(default)s)")
    parser.add_argument("--users", type=positive, default=size.users, help="(%(default)s)")
    parser.add_argument("--commands", type=int, default=size.commands, help="for each user; 0: drawn (%(default)s)")
    parser.add_argument("--servers", type=positive, default=size.servers, help="(%(default)s)")
    parser.add_argument("--processes", type=positive, default=os.cpu_count() or 1, help="(%(default)s)")
    return parser.parse_args(arguments)
