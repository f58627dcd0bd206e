"""A run: a workload is replayed through the proxy while faults come and go, and the result is judged."""

import contextlib
import json
import math
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra.faults.breakages import KINDS, NO_DESCRIPTORS, ROLLING_UPGRADE, Breakage, Kind
from infra.faults.cluster import MEMBERS, SERVERS, Cluster, NotWholeError, small_disk
from infra.faults.impact import Effect, Episode, effect
from infra.faults.judge import Check, JudgedSystem, judge, recorded
from infra.faults.late_requests import LateRequests, NotAnsweredError
from infra.faults.older_version import NoOlderCodeError, OlderCode, older_code
from infra.faults.proxy import PacedProxy
from infra.faults.report import Run
from infra.host import guard
from infra.local.background import running_stack
from infra.local.control import ControlError
from infra.local.stack import DUMPS, LEGACY, PROJECT

DISK_FULL = "disk-full"
MEMBER_WITH_SMALL_DISK = f"mongod-{MEMBERS}"
_EPISODE_SECONDS = 12.0
"""About how long an episode takes, including recovery: the pace is such that the commands last for all."""

_TOGETHER = 3
_STAGGER_SECONDS = 2.0
_BETWEEN_ANSWERS = 40
_THREADS = 32
_END_SECONDS = 600.0

STACK = (
    *("--servers", str(SERVERS)),
    *("--replicas", str(MEMBERS)),
    "--proxied",
    "--settable-clocks",
    "--linked-code",
    *("--balance", "request"),  # any server takes any command of any user: the harder case
    *("--quote-source", LEGACY),
    *("--quote-price", "fixed:10.00"),
    *("--quote-delay", "0"),
    *("--quote-fail", "0"),
    *("--trigger-seconds", "1"),
    *("--mongo-cache-gb", "0.25"),
    *("--mongo-oplog-mb", "64"),
    *("--redis-memory-mb", "64"),
)


class RunFailedError(Exception):
    """A run that could not be completed."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of a run. `rounds` is how often several faults come at the same time, after each came alone.

    `older` is the version of the code that a rolling upgrade starts from, by default the last one before this.
    """

    seed: int
    commands: int
    users: int
    symbols: int
    kinds: Sequence[str]
    rounds: int
    older: str | None = None


def run(options: RunOptions, folder: Path) -> Run:
    """Run in an empty folder; return everything known about the run. Raises RunFailedError."""
    workload = folder / "workload.txt"
    size = [f"--users={options.users}", f"--commands={options.commands}", f"--symbols={options.symbols}"]
    if _run_loadgen("generate", *size, f"--seed={options.seed}", f"--out={workload}") != 0:
        raise RunFailedError("no workload could be generated")
    data = folder / "stack"
    with contextlib.ExitStack() as things:
        wanted = DISK_FULL in options.kinds
        disk = things.enter_context(small_disk(data / MEMBER_WITH_SMALL_DISK)) if wanted else None
        stack = things.enter_context(running_stack(data, *STACK))
        proxy = PacedProxy(urlsplit(stack.url).port or 0)
        things.enter_context(proxy.running())
        late = things.enter_context(contextlib.closing(LateRequests(stack.url, stack.operator_token)))
        skipped: dict[str, str] = {}
        if wanted and disk is None:
            skipped[DISK_FULL] = "no small file system can be mounted here"
        if NO_DESCRIPTORS in options.kinds and not hasattr(resource, "prlimit"):
            skipped[NO_DESCRIPTORS] = "the limits of another process can be set on Linux only"
        older: OlderCode | None = None
        if ROLLING_UPGRADE in options.kinds:
            try:
                older = older_code(PROJECT, folder / "older", options.older)
            except NoOlderCodeError as error:
                skipped[ROLLING_UPGRADE] = str(error)
        return _run(options, Cluster(stack, proxy, late, disk, older), workload, folder, skipped)


def _run(options: RunOptions, cluster: Cluster, workload: Path, folder: Path, skipped: Mapping[str, str]) -> Run:
    source = random.Random(options.seed)  # noqa: S311  # repeatable, no secret
    kinds = [KINDS[name] for name in options.kinds if name not in skipped]
    plan = _plan(kinds, options.rounds, source)
    answers, report = folder / "answers.jsonl", folder / "loadgen.json"
    began, began_ms = time.monotonic(), _now_ms()
    trouble = ""
    with _replaying(cluster, workload, answers, report, folder / "loadgen.txt") as replay, cluster.archiving.running():
        episodes: list[Episode] = []
        try:
            # It reads every account first, which are no commands.
            cluster.wait_for_answers(options.users, lambda: replay.poll() is None)
            for number, together in enumerate(plan):
                left = max(1, options.commands - cluster.proxy.answered)
                cluster.proxy.rate = left / (_EPISODE_SECONDS * (len(plan) - number))
                cluster.wait_for_answers(_BETWEEN_ANSWERS, lambda: replay.poll() is None)
                if replay.poll() is not None:
                    trouble = f"the replay ended before {' + '.join(kind.name for kind in together)}"
                    break
                episodes.append(_carry_out(together, cluster, source))
        except (NotWholeError, ControlError) as error:
            trouble = str(error)
        cluster.proxy.rate = None
        status = replay.wait(_END_SECONDS)
        cluster.pressure.settle()
    if not report.exists():
        raise RunFailedError(f"the load generator ended with {status}; see {folder / 'loadgen.txt'}")
    figures: dict[str, Any] = json.loads(report.read_text())
    return Run(
        seed=options.seed,
        commands=options.commands,
        users=options.users,
        started_ms=began_ms,
        seconds=time.monotonic() - began,
        episodes=_with_effects(episodes, answers),
        checks=[
            *_judged(cluster, workload, answers, figures, status, folder),
            *_older_checks(cluster),
            *_pressure_checks(cluster),
        ],
        skipped=[f"{name}: {why}" for name, why in skipped.items()],
        doubled=cluster.proxy.doubled,
        figures={key: figures.get(key) for key in ("seconds", "rate", "retries", "retry_reasons", "latency_ms")},
        trouble=trouble,
    )


def _plan(kinds: Sequence[Kind], rounds: int, source: random.Random) -> list[list[Kind]]:
    """Return the episodes: each kind alone, in random order, then several together with different targets."""
    plan = [[kind] for kind in source.sample(kinds, len(kinds))]
    for _ in range(rounds):
        by_thing: dict[str, Kind] = {}
        for kind in source.sample(kinds, len(kinds)):
            by_thing.setdefault(kind.thing, kind)
        plan.append(source.sample(list(by_thing.values()), min(_TOGETHER, len(by_thing))))
    return plan


def _carry_out(together: Sequence[Kind], cluster: Cluster, source: random.Random) -> Episode:
    """Begin the faults, one soon after the other, end each after its time, and wait for recovery."""
    began_ms = _now_ms()
    begun: list[tuple[float, Breakage]] = []
    for number, kind in enumerate(together):
        if number:
            time.sleep(source.uniform(0, _STAGGER_SECONDS))
        # The primary changes meanwhile: a moment without one is no reason to skip a fault.
        begun.append((time.monotonic() + kind.seconds, _insist(kind, cluster, source)))
    for ends, breakage in sorted(begun, key=lambda one: one[0]):
        time.sleep(max(0.0, ends - time.monotonic()))
        breakage.end()
    ended_ms = _now_ms()
    names, targets = [kind.name for kind in together], [breakage.target for _, breakage in begun]
    try:
        cluster.wait_until_whole()
    except NotWholeError as error:
        return Episode(names, targets, began_ms, ended_ms, None, str(error))
    return Episode(names, targets, began_ms, ended_ms, _now_ms())


def _insist(kind: Kind, cluster: Cluster, source: random.Random) -> Breakage:
    for _ in range(50):
        with contextlib.suppress(NotWholeError):
            return kind.begin(cluster, source)
        time.sleep(0.2)
    return kind.begin(cluster, source)


@contextlib.contextmanager
def _replaying(
    cluster: Cluster, workload: Path, answers: Path, report: Path, output: Path
) -> "Iterator[subprocess.Popen[bytes]]":
    """Replay the workload through the proxy during the block."""
    command = [
        *_loadgen("replay", str(workload)),
        *(f"--url={cluster.proxy.url}", f"--json={report}", f"--answers={answers}", "--verify", "--quiet"),
        *(f"--threads={_THREADS}", "--retries=200", "--give-up=240"),
    ]
    with (
        output.open("wb") as file,
        subprocess.Popen(
            command,
            cwd=PROJECT,
            env=os.environ | {"LOADGEN_TOKEN": cluster.stack.operator_token},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def _with_effects(episodes: Sequence[Episode], answers: Path) -> list[tuple[Episode, Effect]]:
    all_answers = list(recorded(answers))
    whole = [0, *(episode.whole_ms or episode.ended_ms for episode in episodes)]
    began = [*(episode.began_ms for episode in episodes[1:]), math.inf]
    return [
        (episode, effect(episode, all_answers, since, until))
        for episode, since, until in zip(episodes, whole, began, strict=False)
    ]


def _judged(
    cluster: Cluster, workload: Path, answers: Path, report: Mapping[str, Any], status: int, folder: Path
) -> list[Check]:
    stack = cluster.stack
    target = JudgedSystem(stack.url, stack.operator_token, stack.mongo_uri, stack.mongo_database, stack.data / DUMPS)
    try:
        late_cents = cluster.late.expected_cents()
    except NotAnsweredError as error:
        return [Check("late requests are answered", str(error))]
    return judge(target, workload, answers, report, status, folder, late_cents, cluster.archiving)


def _older_checks(cluster: Cluster) -> list[Check]:
    """Check that the older version was in use at all; a server that was just upgraded may have answered nothing."""
    if cluster.older is None:
        return []
    wrong = "" if cluster.older_commands else "it answered none"
    return [Check(f"{cluster.older.name} answered commands, too ({cluster.older_commands:,})", wrong)]


def _pressure_checks(cluster: Cluster) -> list[Check]:
    asked = cluster.pressure.statuses.total()
    return [Check(f"repeated requests met no fault of ours ({asked:,})", cluster.pressure.wrong())] if asked else []


def _loadgen(*arguments: str) -> list[str]:
    """Return the command line of a load generator that dies with us."""
    return guard.guarded(sys.executable, "-m", "loadgen", *arguments)


def _run_loadgen(*arguments: str) -> int:
    return subprocess.run(_loadgen(*arguments), cwd=PROJECT, check=False).returncode


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
