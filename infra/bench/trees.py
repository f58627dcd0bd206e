"""Two trees of this project side by side: the same replays on stacks of each, in turn, on this machine.

    git worktree add /tmp/before COMMIT
    python -m infra.bench.trees --before /tmp/before --users 45 10 --rounds 3

Each replay has a stack of its own, and the load generator of this tree. Prints the rates, their medians and the ratio.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from infra.bench.replays import NEW_ACCOUNTS, STACK, Replayed, replay_at, write_workload
from infra.local.background import running_stack
from infra.local.stack import PROJECT
from loadgen.workload.generate import generate


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.bench.trees", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--before", type=Path, required=True, metavar="DIR", help="the other tree")
    parser.add_argument("--users", type=int, nargs="+", default=[45, 10], metavar="N")
    parser.add_argument("--commands", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stack", default="", metavar="OPTIONS", help="more options of `infra.local up`")
    options = parser.parse_args(arguments)
    trees = {"before": options.before.resolve(), "after": PROJECT}
    for users in options.users:
        found: dict[str, list[Replayed]] = {name: [] for name in trees}
        for number in range(options.rounds):
            for name in list(trees)[:: 1 if number % 2 else -1]:  # a machine that slows down does so for both
                found[name].append(_replay(trees[name], users, options.commands, options.stack.split()))
                print(f"{users} users, {name}: {_words(found[name][-1])}", flush=True)
        before, after = (statistics.median(one.rate for one in found[name]) for name in trees)
        print(f"{users} users: medians {before:,.0f}/s before, {after:,.0f}/s after: {after / before:.2f}", flush=True)
    return 0


def _replay(tree: Path, users: int, commands: int, stack_options: Sequence[str]) -> Replayed:
    folder = Path(tempfile.mkdtemp(prefix="day-trading-trees-"))
    try:
        workload = folder / "workload.txt"
        write_workload(workload, generate(users, commands, 50, 1))
        with running_stack(folder / "stack", *STACK, *stack_options, project=tree) as stack:
            return replay_at(
                stack.url, stack.operator_token, stack.pids, folder, workload, more=("--verify", *NEW_ACCOUNTS)
            )
    finally:
        shutil.rmtree(folder)


def _words(one: Replayed) -> str:
    used = ", ".join(f"{name} {us:.0f}" for name, us in one.cpu_us.items())
    return f"{one.rate:,.0f}/s, p99 {one.latency_ms['p99']:.1f} ms, CPU us a command: {used}, others {one.others:.2f}"


if __name__ == "__main__":
    sys.exit(main())
