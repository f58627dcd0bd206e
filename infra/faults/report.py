"""A run as a table, as a self-contained page and as JSON."""

import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.faults.breakages import KINDS
from infra.faults.impact import Effect, Episode
from infra.faults.judge import Check

STALL_SECONDS = 15.0
"""The longest that a command may take if the primary dies."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
.bad { color: #b00020; font-weight: 600; } .good { color: #1b6e2c; }
@media (prefers-color-scheme: dark) { body { background: #151515; color: #ddd; } th, td { border-color: #333; }
.bad { color: #ff6b7d; } .good { color: #7bd88f; } }
"""


@dataclass(frozen=True, slots=True)
class Run:
    """Everything known about a run."""

    seed: int
    commands: int
    users: int
    started_ms: int
    seconds: float
    episodes: Sequence[tuple[Episode, Effect]]
    checks: Sequence[Check]
    skipped: Sequence[str]
    doubled: int
    figures: dict[str, Any]
    trouble: str = ""

    @property
    def passed(self) -> bool:
        """Return whether every fault was survived and every check passed."""
        survived = all(verdict(episode, effect) == "survived" for episode, effect in self.episodes)
        return survived and not self.trouble and not any(check.wrong for check in self.checks)


def verdict(episode: Episode, effect: Effect) -> str:
    """Return the verdict on one episode."""
    if episode.trouble:
        return f"not whole again: {episode.trouble}"
    if effect.errors:
        return f"{effect.errors} commands without an answer"
    if episode.kinds == ["primary-killed"] and effect.longest_seconds >= STALL_SECONDS:
        return f"a command took {effect.longest_seconds:.1f} s"
    return "survived"


def lines(run: Run) -> list[str]:
    """Return the run as a text table."""
    widths = (58, 40, 9, 8, 9, 9, 9, 8)
    heads = ("fault", "what was hit", "at", "lasted", "commands", "retried", "longest", "silent")
    table = ["".join(f"{head:<{width}}" for head, width in zip(heads, widths, strict=True)) + "verdict"]
    for episode, effect in run.episodes:
        cells = [*_cells(run, episode, effect)]
        table.append("".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)))
        table[-1] += verdict(episode, effect)
    table += [f"skipped: {name}" for name in run.skipped]
    table += [f"{check.name:<58}{check.wrong or 'yes'}" for check in run.checks]
    table += [run.trouble] if run.trouble else []
    ending = "passed" if run.passed else "FAILED"
    table.append(f"seed {run.seed}: {run.commands:,} commands of {run.users} users in {run.seconds:.0f} s: {ending}")
    return table


def _cells(run: Run, episode: Episode, effect: Effect) -> list[str]:
    return [
        episode.name,
        ", ".join(episode.targets),
        f"{(episode.began_ms - run.started_ms) / 1000:.1f} s",
        f"{(episode.ended_ms - episode.began_ms) / 1000:.1f} s",
        f"{effect.commands:,}",
        f"{effect.retried:,}",
        f"{effect.longest_seconds:.1f} s",
        f"{effect.silent_seconds:.1f} s",
    ]


def write(run: Run, folder: Path) -> None:
    """Write report.json and the self-contained report.html."""
    (folder / "report.json").write_text(json.dumps(_as_json(run), indent=1) + "\n")
    (folder / "report.html").write_text(_page(run))


def _as_json(run: Run) -> dict[str, Any]:
    return {
        "seed": run.seed,
        "commands": run.commands,
        "users": run.users,
        "started_ms": run.started_ms,
        "seconds": round(run.seconds, 1),
        "passed": run.passed,
        "trouble": run.trouble,
        "episodes": [
            {**asdict(episode), "effect": asdict(effect), "verdict": verdict(episode, effect)}
            for episode, effect in run.episodes
        ],
        "checks": [asdict(check) for check in run.checks],
        "skipped": list(run.skipped),
        "sent_twice": run.doubled,
        "figures": run.figures,
    }


def _page(run: Run) -> str:
    heads = ("Fault", "What was hit", "At", "Lasted", "Commands", "Retried", "Longest", "Silent", "Verdict")
    rows = []
    for episode, effect in run.episodes:
        said = verdict(episode, effect)
        titles = "; ".join(KINDS[kind].says for kind in episode.kinds)
        cells = _cells(run, episode, effect)
        row = f'<td title="{html.escape(titles)}">{html.escape(cells[0])}</td><td>{html.escape(cells[1])}</td>'
        row += "".join(f'<td class="n">{html.escape(cell)}</td>' for cell in cells[2:])
        rows.append(f"<tr>{row}{_judged(said, well=said == 'survived')}</tr>")
    checks = [
        f"<tr><td>{html.escape(check.name)}</td>{_judged(check.wrong or 'yes', well=not check.wrong)}</tr>"
        for check in run.checks
    ]
    skipped = "".join(f"<p>Skipped: {html.escape(name)}.</p>" for name in run.skipped)
    began = datetime.fromtimestamp(run.started_ms / 1000, UTC).isoformat(timespec="seconds")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Faults, seed {run.seed}</title><style>{_STYLE}</style></head><body>
<h1>Faults, seed {run.seed}: <span class="{"good" if run.passed else "bad"}">{
        "passed" if run.passed else "failed"
    }</span></h1>
<p>{run.commands:,} commands of {run.users} users in {run.seconds:.0f} s from {began}; {
        run.doubled:,} requests were sent
twice. "Longest" is what the slowest command took from its first try to its answer, "silent" the longest time without an
answer to anybody.</p>
<table><thead><tr>{"".join(f"<th>{head}</th>" for head in heads)}</tr></thead><tbody>{"".join(rows)}</tbody></table>
{skipped}<p class="bad">{html.escape(run.trouble)}</p>
<h2>What must be true afterwards</h2><table><tbody>{"".join(checks)}</tbody></table></body></html>
"""


def _judged(said: str, *, well: bool) -> str:
    return f'<td class="{"good" if well else "bad"}">{html.escape(said)}</td>'
