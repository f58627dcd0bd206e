"""Compares two trees of this project: the same replays on stacks of each, alternately, on this machine.

    git worktree add /tmp/before COMMIT
    python -m infra.bench.trees --before /tmp/before

Both stacks run all the time, and the replays alternate in slices so short that the machine's speed and other work are
the same for both. Nothing is verified: an older tree may lack what that needs. There is no DUMPLOG: the log of a stack
grows from slice to slice. Prints the medians of each, and the median of the slices' ratios of the rate and of the
gateway's CPU time per command, which is more meaningful on a busy machine.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from infra.bench.replays import STACK, Replayed, replay_at, write_workload
from infra.host.arguments import add_examples, positive
from infra.local.background import running_stack
from infra.local.stack import PROJECT
from loadgen.workload.generate import generate

Slices = dict[str, list[Replayed]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.bench.trees", description=__doc__)
    add_examples(parser, "python -m infra.bench.trees --before /tmp/before --users 45 10 --slices 21")
    parser.add_argument("--before", type=Path, required=True, metavar="DIR", help="the other tree")
    parser.add_argument("--after", type=Path, default=PROJECT, metavar="DIR", help="compared with it (this tree)")
    parser.add_argument("--users", type=positive, nargs="+", default=[45, 10], metavar="N")
    parser.add_argument("--commands", type=positive, default=2_000, help="per slice (%(default)s)")
    parser.add_argument("--slices", type=positive, default=21, help="of each tree (%(default)s)")
    parser.add_argument("--stack", default="", metavar="OPTIONS", help="more options of `infra.local up`")
    options = parser.parse_args(arguments)
    trees = {"before": options.before.resolve(), "after": options.after.resolve()}
    for users in options.users:
        found = _slices(trees, users, options.commands, options.slices, options.stack.split())
        for name, slices in found.items():
            print(f"{users} users, {name}: {words(slices)}")
        pairs = zip(found["before"], found["after"], strict=True)
        ratios = [(new.rate / old.rate, new.cpu_us["gateway"] / old.cpu_us["gateway"]) for old, new in pairs]
        for what, values in zip(("rate", "CPU of the gateway"), zip(*ratios, strict=True), strict=True):
            low, middle, high = statistics.quantiles(values, n=4)
            print(
                f"{users} users, {what}, after / before: {middle:.2f} (quartiles {low:.2f} to {high:.2f})", flush=True
            )
    return 0


def _slices(trees: dict[str, Path], users: int, commands: int, count: int, options: Sequence[str]) -> Slices:
    folder = Path(tempfile.mkdtemp(prefix="day-trading-trees-"))
    found: Slices = {name: [] for name in trees}
    workload = folder / "workload.txt"
    write_workload(workload, (command for command in generate(users, commands, 50, 1) if command.user is not None))
    try:
        with ExitStack() as running:
            stacks = {
                name: running.enter_context(running_stack(folder / name, *STACK, *options, project=tree))
                for name, tree in trees.items()
            }
            for number in range(count + 1):  # the first ones warm the servers
                for name in list(stacks)[:: 1 if number % 2 else -1]:
                    one = stacks[name]
                    replayed = replay_at(one.url, one.operator_token, one.pids, folder, workload)
                    if number:
                        found[name].append(replayed)
        return found
    finally:
        shutil.rmtree(folder)


def words(slices: Sequence[Replayed]) -> str:
    """Return the medians of slices in words."""

    def median(values: Sequence[float]) -> float:
        return statistics.median(values)

    used = ", ".join(f"{name} {median([one.cpu_us[name] for one in slices]):.0f}" for name in slices[0].cpu_us)
    rate, p99 = median([one.rate for one in slices]), median([one.latency_ms["p99"] for one in slices])
    others = median([one.others for one in slices])
    return f"{rate:,.0f}/s, p99 {p99:.1f} ms, CPU us a command: {used}; others kept {others:.2f} cores busy"


if __name__ == "__main__":
    sys.exit(main())
