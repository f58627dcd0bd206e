"""The command line: draws a fixed sample of faults, tries each, and lists those that the tests did not notice."""

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from infra.host.arguments import add_examples, decimal, positive
from infra.local.stack import PROJECT
from infra.mutants.areas import AREAS, Area, equivalents
from infra.mutants.faults import Fault, faults_of
from infra.mutants.trial import Copy, TrialError, TrialOutcome

_LEAST_PERCENT = 95.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if enough of the faults were noticed, 1 if not, 2 if the tests cannot be run."""
    options = _parser().parse_args(arguments)
    areas = [area for area in AREAS if not options.area or area.name in options.area]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(options.processes):
            copies.put(Copy.make(Path(folder) / str(number)))
        try:
            scores = [_try_area(area, copies, options) for area in areas]
        except TrialError as error:
            print(f"mutants: {error}", file=sys.stderr)
            return 2
    return 0 if min(scores) >= options.least else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.mutants", description=__doc__)
    add_examples(parser, "python -m infra.mutants --area domain --sample 20")
    names = [area.name for area in AREAS]
    parser.add_argument("--area", action="append", choices=names, help="only this area (repeatable)")
    parser.add_argument(
        "--sample", type=positive, default=50, metavar="N", help="faults for each area (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="draws another sample (default: %(default)s)")
    parser.add_argument("--file", metavar="TEXT", default="", help="only faults of modules whose path contains TEXT")
    parser.add_argument("--no-servers", action="store_true", help="use only the unit tests")
    parser.add_argument(
        "--processes", type=positive, default=os.cpu_count() or 1, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--least",
        type=decimal(0, 100, "per cent"),
        default=_LEAST_PERCENT,
        metavar="PERCENT",
        help="the least share that must be killed (default: %(default)s)",
    )
    return parser


def sample_of(area: Area, size: int, seed: int, only: str = "") -> list[Fault]:
    """Draw faults of an area: the same ones as long as their functions do not change."""
    files = sorted({str(path.relative_to(PROJECT)) for path in (PROJECT / area.folder).rglob("*.py")} | {*area.also})
    faults = [fault for file in files if only in file for fault in faults_of(PROJECT, file)]
    return sorted(faults, key=lambda fault: fault.rank(seed))[:size]


def _try_area(area: Area, copies: "SimpleQueue[Copy]", options: argparse.Namespace) -> float:
    """Try a sample of an area's faults, print the outcomes, and return the percentage that was killed."""
    reasons = equivalents()
    drawn = sample_of(area, options.sample, options.seed, options.file)
    faults = [fault for fault in drawn if fault.name not in reasons]
    copy = copies.get()
    baseline = copy.baseline(area, servers=not options.no_servers)
    copies.put(copy)

    def try_one(fault: Fault) -> TrialOutcome:
        copy = copies.get()
        try:
            return copy.outcome(fault, area, baseline)
        finally:
            copies.put(copy)

    with ThreadPoolExecutor(options.processes) as pool:
        outcomes = list(pool.map(try_one, faults))
    counts = Counter(outcomes)
    killed = len(faults) - counts[TrialOutcome.SURVIVED]
    percent = 100 * killed / max(len(faults), 1)
    parts = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in TrialOutcome)
    print(f"{area.name}: {percent:.1f} % of {len(faults)} ({parts}; {len(drawn) - len(faults)} equivalent left out)")
    for fault, outcome in zip(faults, outcomes, strict=True):
        if outcome is TrialOutcome.SURVIVED:
            print(f"  survived, line {fault.line}: {fault.name}")
    sys.stdout.flush()
    return percent
