"""The command line: `python -m infra.bench run|page|compare`."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from infra.bench import page
from infra.bench import record as records
from infra.bench.compare import WORSE, compare, differences, print_comparison
from infra.bench.context import Section
from infra.bench.record import RESULTS, Record, RecordError
from infra.bench.run import FOLDER, run, say_how_it_ended
from infra.bench.sections import SECTIONS, TOGETHER
from infra.bench.sizes import FULL, QUICK
from infra.bench.verdicts import judge, print_verdicts
from infra.host.arguments import add_examples, positive

OK, FAILED, BAD_INPUT, GATE_FAILED, INTERRUPTED = 0, 1, 2, 3, 130
"""The exit codes (docs/performance.md)."""

_NAMES = [section.name for section in SECTIONS]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as for Ctrl-C: in order
    do: Callable[[argparse.Namespace], int] = options.do
    try:
        return do(options)
    except RecordError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED


_PROG = "python -m infra.bench"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROG,
        description="Measure the system, everything side by side on this machine; about twenty minutes.",
        epilog="exit codes: 0 all was measured and verified, 1 something failed, 2 bad file or arguments, 3 a gate "
        "failed, 130 interrupted.",
    )
    add_examples(parser, f"{_PROG} run --only replay --rounds 5", f"{_PROG} compare")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    one = commands.add_parser("run", help="measure, write a record, and print the verdicts")
    one.set_defaults(do=_run)
    _add_run_options(one)
    one.add_argument("--out", type=Path, metavar="FILE", help=f"the record (default: in {RESULTS.name}/, see below)")
    one.add_argument(
        "--keep", action="store_true", help="put these sections into the newest kept record, and on the page"
    )
    one.add_argument("--page", action="store_true", help="write the page from it, if it is complete")
    one.add_argument("--gate", action="store_true", help="exit 3 if a demand is not met")
    one.epilog = (
        f"A whole run's record goes to bench/results/, one with --only or --quick, or interrupted, to {FOLDER}/; with "
        "--keep a whole run of some sections replaces theirs in the newest record there."
    )
    add_examples(one, f"{_PROG} run --only replay --rounds 5")
    one = commands.add_parser("page", help="write docs/performance.md, its plots and README's figures from a record")
    one.set_defaults(do=_page)
    add_examples(one, f"{_PROG} page bench/results/RECORD.json")
    one.add_argument("record", type=Path, nargs="?", help="(default: the newest in bench/results/)")
    one = commands.add_parser("compare", help="measure and compare with the last committed record, or two records")
    one.set_defaults(do=_compare)
    add_examples(one, f"{_PROG} compare", f"{_PROG} compare OLD.json NEW.json")
    one.add_argument("records", type=Path, nargs="*", metavar="RECORD", help="OLD and NEW, or OLD alone, or neither")
    _add_run_options(one)
    one.add_argument("--gate", action="store_true", help="exit 3 if a figure is worse by more than the spread")
    return parser


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", action="append", choices=_NAMES, metavar="SECTION", help=f"may be repeated: {', '.join(_NAMES)}"
    )
    parser.add_argument("--rounds", type=positive, default=3, help="(%(default)s)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it works, not how fast")


def _run(options: argparse.Namespace) -> int:
    if options.keep:
        _check_to_keep(options)
    record, path = _measured(options, options.out)
    print_verdicts(judge(record), Console())
    print(f"record: {path}")
    if not record["complete"]:
        say_how_it_ended(record, path)
        return INTERRUPTED if record["ended"] == "interrupted" else FAILED
    if options.keep:
        kept = records.newest()
        records.write(kept, records.with_sections(records.read(kept), record, _NAMES))
        print(f"kept in: {kept}\npage: {page.write(records.read(kept))}")
    if options.page and path.parent == RESULTS:
        print(f"page: {page.write(record)}")
    if options.gate and not all(one["passed"] for one in record["verdicts"]):
        return GATE_FAILED
    return OK


def _check_to_keep(options: argparse.Namespace) -> None:
    """Raise RecordError for a run that cannot be a part of the page."""
    if options.quick:
        raise RecordError("--keep with --quick: figures of tiny sizes are worthless")
    if options.only is None:
        raise RecordError("--keep without --only: a run of all sections is kept anyway")
    if TOGETHER & set(options.only) and not set(options.only) >= TOGETHER:
        raise RecordError(f"the page compares {', '.join(sorted(TOGETHER))} with each other: --keep takes all or none")


def _measured(options: argparse.Namespace, out: Path | None) -> tuple[Record, Path]:
    """Run, write the record, and return it with its path."""
    sections = _chosen(options.only)
    record = run(sections, QUICK if options.quick else FULL, options.rounds, quick=options.quick)
    is_whole = record["complete"] and not options.quick and len(sections) == len(SECTIONS)
    path = out or (RESULTS if is_whole and options.do is _run else FOLDER) / records.name_of(record)
    records.write(path, record)
    return record, path


def _chosen(names: Sequence[str] | None) -> list[Section]:
    return [section for section in SECTIONS if names is None or section.name in names]


def _page(options: argparse.Namespace) -> int:
    print(page.write(records.read(options.record or records.newest())))
    return OK


def _compare(options: argparse.Namespace) -> int:
    if len(options.records) > 2:
        raise RecordError("compare takes two records at most")
    old = records.read(options.records[0] if options.records else records.newest(committed=True))
    if len(options.records) == 2:
        new = records.read(options.records[1])
    else:
        new, path = _measured(options, None)
        print(f"record: {path}")
        if not new["complete"]:
            say_how_it_ended(new, path)
    lines = compare(old, new)
    print_comparison(lines, differences(old, new), Console())
    if not new["complete"]:
        return INTERRUPTED if new["ended"] == "interrupted" else FAILED
    return GATE_FAILED if options.gate and any(line.mark == WORSE for line in lines) else OK
