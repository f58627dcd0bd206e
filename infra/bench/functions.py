"""Commands in containers of the deployed function, one request at a time, each to any container.

As in Lambda, except for the network: the artifact with Lambda's own runtime client, real MongoDB and Redis. For
comparison, the bare driver: the same reads and guarded writes without HTTP, framework or rules, in one process and in
as many as there are containers.
"""

import json
import math
import os
import random
import secrets
import shutil
import statistics
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from pymongo import MongoClient

from chalicelib.connections import connect_database
from chalicelib.store.documents import Document
from chalicelib.store.key_filter import block_of
from infra.bench import timed_function
from infra.bench.bare import BareCommand, CommandDriver, DriverHere, driver_process
from infra.bench.processes import BenchFailedError
from infra.bench.recorded_writes import RUN_ID, key_of, record
from infra.cloud.artifact import CODE, TEMPLATE, Artifact, LambdaTarget, package
from infra.cloud.containers import containers, put_on_board
from infra.cloud.runtime_api import Routes, RuntimeApi
from infra.host.cpu_quota import cpu_quota
from infra.local.part_settings import settings_with
from infra.tokens import operator_token
from loadgen.client.encoding import RequestWriter, parse_url
from loadgen.dialects.trading import TradingDialect
from loadgen.workload.files import Command

TOKEN_SECRET = "0" * 32
_WELL = frozenset({200, 409})
_TURN = 100
"""How many commands a run sends before it is another one's turn."""


@dataclass(frozen=True, slots=True)
class FunctionCost:
    """The average cost of a command: times in ms, operations and bytes on the wire to and from MongoDB.

    `cpu_ms` is the function's, `runtime_ms` that of the rest of its process: the runtime's client, which decodes the
    event and sends the answer. `billed_ms` is the time from the invocation to its answer, each rounded up as Lambda
    bills it, and `p99_ms` the 99th percentile of these times. `log_bytes` and `answer_bytes` are what the function
    wrote and answered.
    """

    wall_ms: float
    cpu_ms: float
    runtime_ms: float
    reads: float
    writes: float
    wire_bytes: float
    billed_ms: float = 0.0
    p99_ms: float = 0.0
    log_bytes: float = 0.0
    answer_bytes: float = 0.0


@dataclass(frozen=True, slots=True)
class Deployed:
    """The artifact, unzipped, and what Lambda provides."""

    code: Path
    on_board: Path
    timed: Path
    routes: Routes
    settings: Mapping[str, str]

    def environment(self, folder: Path, servers: Mapping[str, str]) -> dict[str, str]:
        """Return a function's environment: the template's, its servers' addresses, and one price for all symbols."""
        return {
            **self.settings,
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
            "MONGO_DATABASE": _database(),
            "QUOTE_SOURCE": "fixed:10.00",
            "DUMP_PLACE": str(folder),
            **servers,
        }


@dataclass(frozen=True, slots=True)
class ContainerSite:
    """Where containers run: their servers' variables, the mongod, a folder, and CPU cores for each.

    Without `cores` the CPU time is not limited.
    """

    servers: Mapping[str, str]
    uri: str
    folder: Path
    cores: float | None = None

    @classmethod
    def plain(cls, uri: str, redis_url: str, folder: Path) -> "ContainerSite":
        """Return a site whose servers are reached without TLS."""
        return cls({"MONGO_URI": uri, "REDIS_URL": redis_url, "AUTH_SECRET": TOKEN_SECRET}, uri, folder)

    def quota(self) -> AbstractContextManager[Sequence[str]]:
        """Return the CPU quota of one container; raises CpuQuotaError when it is entered."""
        return nullcontext(()) if self.cores is None else cpu_quota(self.cores)


def deploy(folder: Path) -> Deployed:
    """Package the app and unzip it, as in a container; an existing package in the folder is reused."""
    code, timed = folder / "task", folder / "timed"
    artifact = Artifact(folder / CODE, folder / TEMPLATE)
    if not folder.exists():
        artifact = package(folder, "prod", target=LambdaTarget.here())
        with zipfile.ZipFile(artifact.code) as archive:
            archive.extractall(code)
        timed.mkdir()
        shutil.copy(timed_function.__file__, timed)
        put_on_board(folder / "on_board")
    template = json.loads(artifact.template.read_text())
    variables = template["Resources"]["APIHandler"]["Properties"]["Environment"]["Variables"]
    fixed = {name: value for name, value in variables.items() if isinstance(value, str)}  # the others are the stack's
    return Deployed(code, folder / "on_board", timed, Routes(template), fixed)


class SentCommand(NamedTuple):
    """What one command took; see `FunctionCost`."""

    seconds: float
    cpu_s: float
    runtime_s: float = 0.0
    invoked_s: float = 0.0
    answer_bytes: int = 0


class CommandRun:
    """Commands that are sent one by one, with `send`, and what they cost on average."""

    def __init__(self, send: Callable[[], SentCommand], client: MongoClient[Document], logs: str | None = None) -> None:
        self._send = send
        self._client = client
        self._logs = logs
        self._logged = 0
        self._sent: list[SentCommand] = []
        self._counted = (0, 0, 0)

    def warm_up(self, count: int) -> None:
        """Send the first commands, which do not count."""
        for _ in range(count):
            self._send()
        self._logged = _bytes_in(self._logs)

    def turn(self, count: int) -> None:
        """Send the next commands."""
        earlier, before = self._counters(), self._counters()
        self._sent += [self._send() for _ in range(count)]
        found = zip(self._counted, self._counters(), before, earlier, strict=True)
        # Asking for the counters takes some 30 KB: what it took before is subtracted.
        reads, writes, wire = (counted + now - was - (was - asked) for counted, now, was, asked in found)
        self._counted = reads, writes, wire

    def _counters(self) -> tuple[int, int, int]:
        status = self._client.admin.command("serverStatus")
        operations, network = status["opcounters"], status["network"]
        wire = network["physicalBytesIn"] + network["physicalBytesOut"]
        return operations["query"], operations["update"], wire

    def cost(self) -> FunctionCost:
        """Return the average cost."""
        sent = self._sent
        reads, writes, wire = (counted / len(sent) for counted in self._counted)
        seconds, cpu_s, runtime_s, _, answer_bytes = (statistics.mean(values) for values in zip(*sent, strict=True))
        return FunctionCost(
            seconds * 1000,
            cpu_s * 1000,
            runtime_s * 1000,
            reads,
            writes,
            wire,
            billed_ms=statistics.mean(math.ceil(one.invoked_s * 1000) for one in sent),
            p99_ms=statistics.quantiles((one.invoked_s * 1000 for one in sent), n=100)[98],
            log_bytes=(_bytes_in(self._logs) - self._logged) / len(sent),
            answer_bytes=answer_bytes,
        )


def in_turns(runs: Sequence[CommandRun], commands: int, warm_up: int) -> list[FunctionCost]:
    """Return what the commands cost in each run; they take turns, so the machine's speed is the same for all."""
    for run in runs:
        run.warm_up(warm_up)
    for number, sent in enumerate(range(warm_up, commands, _TURN)):
        for run in runs[:: -1 if number % 2 else 1]:
            run.turn(min(_TURN, commands - sent))
    return [run.cost() for run in runs]


@contextmanager
def by_containers(
    deployed: Deployed, count: int, commands: Sequence[Command], site: ContainerSite
) -> Iterator[CommandRun]:
    """Start containers; each command goes to one that is chosen at random."""
    environment = deployed.environment(site.folder, site.servers)
    with ExitStack() as running, MongoClient[Document](site.uri) as client, TemporaryDirectory(dir=site.folder) as logs:
        apis: list[RuntimeApi] = []
        for number in range(count):
            place = Path(logs, str(number))
            place.mkdir()
            before = running.enter_context(site.quota())
            ways = containers(
                "timed_function.handler",
                1,
                deployed.code,
                deployed.on_board,
                environment,
                place,
                deployed.timed,
                before=before,
            )
            apis.append(running.enter_context(ways))
        for api in apis:  # a command's time limit counts from its arrival: none must wait for a start
            _timed(api, deployed.routes.event("GET", "/health", {}, b""))
        events, chosen = _events(deployed.routes, commands), random.Random(count)  # noqa: S311  # the same in each run
        process_s = [0.0] * count

        def send() -> SentCommand:
            to = chosen.randrange(count)
            one = _timed(apis[to], next(events))
            runtime_s = one["process_cpu_s"] - process_s[to] - one["cpu_s"]
            process_s[to] = one["process_cpu_s"]
            return SentCommand(one["seconds"], one["cpu_s"], runtime_s, one["invoked_s"], _size(one["answer"]))

        yield CommandRun(send, client, logs)


def _bytes_in(folder: str | None) -> int:
    return 0 if folder is None else sum(path.stat().st_size for path in Path(folder).rglob("*.log"))


def _size(answer: Mapping[str, Any]) -> int:
    """Return the size of an answer, without the headers that API Gateway adds."""
    return len(answer["body"]) + sum(len(f"{name}: {value}\r\n") for name, value in answer["headers"].items())


def bare_commands(commands: Sequence[Command], uri: str) -> list[BareCommand]:
    """Return what the system reads and writes for commands, one after the other."""
    scratch = connect_database(settings_with(MONGO_URI=uri, MONGO_DATABASE=f"scratch_{time.time_ns()}"))
    with scratch.client:
        tapes = {user: iter(tape) for user, tape in record(scratch, commands).items()}
    writes = [(line, next(tapes[line.user])) for line in commands if line.user is not None]
    return [BareCommand(block_of(key_of(line)), one.guarded, one.part) for line, one in writes]


@contextmanager
def by_driver(commands: Sequence[BareCommand], uri: str) -> Iterator[CommandRun]:
    """Make each command's read and write with the bare driver in this process, one right after the other."""
    with closing(DriverHere(uri, _database())) as driver, MongoClient[Document](uri) as client:
        yield _driven([driver], commands, client)


@contextmanager
def by_driver_processes(count: int, commands: Sequence[BareCommand], uri: str) -> Iterator[CommandRun]:
    """Make them in processes of the bare driver, each in one that is chosen as containers are."""
    database = _database()
    with ExitStack() as running, MongoClient[Document](uri) as client:
        yield _driven([running.enter_context(driver_process(uri, database)) for _ in range(count)], commands, client)


def _driven(
    drivers: Sequence[CommandDriver], commands: Sequence[BareCommand], client: MongoClient[Document]
) -> CommandRun:
    chosen, left = random.Random(len(drivers)), iter(commands)  # noqa: S311  # the same in each run
    return CommandRun(lambda: SentCommand(*drivers[chosen.randrange(len(drivers))].carry_out(next(left))), client)


def _database() -> str:
    """Return a new database's name, as long as the default one: it is in every message."""
    return f"bench{secrets.token_hex(3)}"


def _timed(api: RuntimeApi, event: Any) -> dict[str, Any]:
    """Return an invocation's measurements (see `timed_function`), and the time until its answer arrived."""
    began = time.perf_counter()
    found: dict[str, Any] = api.invoke(event)
    found["invoked_s"] = time.perf_counter() - began
    if found["answer"]["statusCode"] not in _WELL:
        raise BenchFailedError(f"a container answered {found['answer']}")
    return found


def _events(routes: Routes, commands: Sequence[Command]) -> Iterator[dict[str, Any]]:
    """Yield API Gateway's events for the load generator's requests, each made when it is needed, at its arrival."""
    target = parse_url("http://localhost")
    dialect = TradingDialect(RequestWriter(target, operator_token(TOKEN_SECRET)), target, RUN_ID)
    for command in commands:
        head, _, body = dialect.encode(command).partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        event = routes.event(*dialect.request_line(command), headers, body)
        assert event is not None, command
        yield event
