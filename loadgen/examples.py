"""An example for each command's help."""

import argparse
import textwrap

_WIDTH = 96

EXAMPLES = {
    "replay": "loadgen replay workload.txt --url http://127.0.0.1:8000 --token TOKEN --verify",
    "verify": "loadgen verify workload.txt --answers answers.jsonl.gz --url http://127.0.0.1:8000 --token TOKEN",
    "generate": "loadgen generate --users 45 --commands 10000 --out workload.txt",
    "merge": "loadgen merge shard-1.json shard-2.json --json all.json",
    "compare": "loadgen compare before-1.json before-2.json --with after-1.json after-2.json --fail-below 0.9",
    "report": "loadgen report report.json --html report.html --fail-on 'p99>50ms'",
    "do": "loadgen do BUY,jane,ABC,100.00 COMMIT_BUY,jane --url http://127.0.0.1:8000 --token TOKEN",
}


def show_example(parser: argparse.ArgumentParser, example: str) -> None:
    """Append an example to a parser's help, on one line; a description of one paragraph is wrapped."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    description = parser.description or ""
    parser.description = description if "\n" in description else textwrap.fill(description, _WIDTH)
    said = f"{textwrap.fill(parser.epilog, _WIDTH)}\n\n" if parser.epilog else ""
    parser.epilog = f"{said}example:\n  {example}"
