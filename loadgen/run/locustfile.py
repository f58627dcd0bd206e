"""The same replay on Locust, any number of workers: `locust -f loadgen/run/locustfile.py --workload FILE --host URL`.

The master goes through the stages of the workload, as `loadgen replay --processes` does, and the workers send them:
each owns the users that a hash of their names assigns to it, and sends every command of theirs once and in order.
Locust's users (`-u`) do the sending: each takes one stream after another and sends its next command. Locust counts and
reports; a command without a final answer is a failure.
"""

import secrets
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
for _index, _path in enumerate(sys.path):
    if Path(_path).resolve() == _HERE:  # Locust puts it first: our `replay` could be confused with another module
        sys.path[_index] = str(_HERE.parents[1])

import gevent  # noqa: E402 (after the path is right)
import gevent.queue  # noqa: E402
from locust import User, events, task  # noqa: E402
from locust.env import Environment  # noqa: E402
from locust.runners import LocalRunner, MasterRunner  # noqa: E402

from loadgen.client.connection import ClientConnection  # noqa: E402
from loadgen.client.encoding import RequestWriter, parse_url  # noqa: E402
from loadgen.client.retry import RetryingClient, RetryPolicy  # noqa: E402
from loadgen.dialects.trading import TradingDialect  # noqa: E402
from loadgen.run.server import Client, explain  # noqa: E402
from loadgen.workload.files import Command, WorkloadError, load  # noqa: E402
from loadgen.workload.streams import Shard, Stream, owned, stages  # noqa: E402

_LOST_S = 1.0
"""How often the master checks that all workers are still connected."""


class NoFinalAnswerError(Exception):
    """A command that got no final answer."""


class Shared:
    """What the Locust users of one process share: the streams of the current stage, and the client settings."""

    def __init__(self, environment: Environment, run_id: str, part: Shard) -> None:
        options = environment.parsed_options
        assert options is not None
        self._fire: Any = environment.events.request.fire
        self._runner = environment.runner
        self._target = parse_url(environment.host or "")
        self._dialect = TradingDialect(RequestWriter(self._target, options.token or ""), self._target, run_id)
        self._policy = RetryPolicy(options.timeout, options.retries, options.give_up)
        self._tls = _tls(options) if self._target.scheme == "https" else None
        is_mine = owned(Shard(0, 1), part)
        commands = load(Path(options.workload)).commands
        self._plan = [[one for one in stage if is_mine(one.commands[0].user)] for stage in stages(commands)]
        self._streams: gevent.queue.Queue[Iterator[tuple[int, Command]]] = gevent.queue.Queue()
        self._left = 0
        self._stage = 0

    def begin(self, stage: int) -> None:
        """Begin a stage; the master is told when it ends."""
        streams: Sequence[Stream] = self._plan[stage]
        self._stage, self._left = stage, sum(len(stream.commands) for stream in streams)
        for stream in streams:
            self._streams.put(iter(stream))
        if not self._left:
            self._say_done()

    def client(self) -> Client:
        """Return a client for one Locust user."""
        connection = ClientConnection(self._target, self._policy.timeout_s, self._tls, kernel_timeouts=False)
        return RetryingClient(connection, self._dialect, self._policy, threading.Event())

    def work(self, client: Client) -> None:
        """Wait for a stream and send its next command."""
        stream = self._streams.get()
        for _, command in stream:
            self._send(client, command)
            self._streams.put(stream)
            self._left -= 1
            if not self._left:
                self._say_done()
            return

    def _send(self, client: Client, command: Command) -> None:
        start = time.time()
        outcome = client.send(command)
        self._fire(
            request_type=self._dialect.request_line(command)[0],
            name=command.name,
            response_time=outcome.latency_us / 1000,
            response_length=len(outcome.body),
            exception=None if outcome.final else NoFinalAnswerError(explain(outcome)),
            context={},
            start_time=start,
            url=self._target.url,
        )

    def _say_done(self) -> None:
        assert self._runner is not None
        self._runner.send_message("replay-done", {"stage": self._stage})


class Trader(User):
    """A Locust user, which sends for one user of the workload after another."""

    def on_start(self) -> None:
        """Wait for the replay to begin."""
        _ready.wait()
        self._client = _shared[0].client()

    def on_stop(self) -> None:
        """Close the connection."""
        self._client.close()

    @task
    def work(self) -> None:
        """Send the next command of some user."""
        _shared[0].work(self._client)


_shared: list[Shared] = []
_ready = threading.Event()
_done: "gevent.queue.Queue[tuple[str, int]]" = gevent.queue.Queue()
"""Which worker has finished which stage; used by the master."""


def add_arguments(parser: Any) -> None:
    """Add the arguments of a replay to Locust's."""
    policy = RetryPolicy()
    parser.add_argument("--workload", metavar="FILE", help="the workload file, at the same place on every machine")
    parser.add_argument("--token", env_var="LOADGEN_TOKEN", is_secret=True, help="JWT, normally an operator's")
    parser.add_argument("--run-id", default="", help="prefix of this run's idempotency keys (default: random)")
    parser.add_argument("--timeout", type=float, default=policy.timeout_s, help="time-out of a try in seconds")
    parser.add_argument("--retries", type=int, default=policy.retries, help="maximum number of retries of a command")
    parser.add_argument("--give-up", type=float, default=policy.give_up_s, help="no retry later than this, in seconds")
    parser.add_argument("--ca", default="", help="also trust the certificates in this file (PEM)")
    parser.add_argument("--insecure", action="store_true", help="trust any certificate")


def prepare(environment: Environment, runner: Any, **_: Any) -> None:
    """Register the messages between master and workers."""
    if not isinstance(runner, MasterRunner):
        runner.register_message("replay-begin", _take_part)
        runner.register_message("replay-stage", _begin_stage)
    if isinstance(runner, (MasterRunner, LocalRunner)):
        runner.register_message("replay-done", _take_done)

        def begin(**_: Any) -> None:
            gevent.spawn(_conduct, environment, runner)

        hook: Any = environment.events.spawning_complete
        hook.add_listener(begin)


def _take_part(environment: Environment, msg: Any, **_: Any) -> None:
    _shared[:] = [Shared(environment, msg.data["run_id"], Shard(msg.data["number"], msg.data["of"]))]
    _ready.set()


def _begin_stage(environment: Environment, msg: Any, **_: Any) -> None:  # noqa: ARG001 (Locust's names)
    _shared[0].begin(msg.data["stage"])


def _take_done(environment: Environment, msg: Any, **_: Any) -> None:  # noqa: ARG001 (Locust's names)
    _done.put((msg.node_id, msg.data["stage"]))


def _conduct(environment: Environment, runner: MasterRunner | LocalRunner) -> None:
    """Run the stages and end the run; its exit code says whether every command was answered."""
    try:
        problem = _replay(environment, runner)
    except (WorkloadError, OSError) as error:
        problem = str(error)
    if problem is not None:
        print(f"loadgen: {problem}", file=sys.stderr)
        environment.process_exit_code = 1
    runner.quit()


def _replay(environment: Environment, runner: MasterRunner | LocalRunner) -> str | None:
    """Have all stages sent; return what went wrong, or None."""
    options = environment.parsed_options
    assert options is not None
    if not options.workload:
        return "--workload is needed"
    plan = list(stages(load(Path(options.workload)).commands))
    workers = sorted(_workers(runner))
    if runner.target_user_count < len(workers):
        return f"{len(workers)} workers need at least as many users (-u) as they are, to work with"
    run_id = options.run_id or secrets.token_hex(6)
    for number, worker in enumerate(workers):
        runner.send_message("replay-begin", {"run_id": run_id, "number": number, "of": len(workers)}, worker)
    for stage in range(len(plan)):
        for worker in workers:
            runner.send_message("replay-stage", {"stage": stage}, worker)
        if lost := _await(runner, set(workers), stage):
            return f"workers were lost: {', '.join(sorted(lost))}"
    return None


def _await(runner: MasterRunner | LocalRunner, missing: set[str], stage: int) -> set[str]:
    """Wait until all workers have sent a stage; return those that left without finishing it."""
    while missing:
        try:
            worker, ended = _done.get(timeout=_LOST_S)
        except gevent.queue.Empty:
            if lost := missing - _workers(runner):
                return lost
            continue
        if ended == stage:
            missing.discard(worker)
    return set()


def _workers(runner: MasterRunner | LocalRunner) -> set[str]:
    if isinstance(runner, LocalRunner):
        return {"local"}
    return {client.id for client in runner.clients.all if client.state != "missing"}


def _tls(options: Any) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.ca:
        context.load_verify_locations(options.ca)
    return context


_events: Any = events  # Locust types little of it
_events.init_command_line_parser.add_listener(add_arguments)
_events.init.add_listener(prepare)
