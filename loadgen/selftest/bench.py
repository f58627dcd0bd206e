"""What the load generator itself costs and whether its figures can be trusted: `python -m loadgen.selftest.bench WHAT`.

client       commands a second and CPU a command, beside a bare loop of http.client, or another checkout, in turn
percentiles  latencies beside those that wrk measures on the same stub at the same rate
rates        rates that are held and how late commands leave; percentiles beside the stub's own log
parse        time and memory for reading a workload file
"""

import argparse
import http.client
import json
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from loadgen.client.encoding import parse_url
from loadgen.examples import show_example
from loadgen.results import machine
from loadgen.run.interrupt import Interrupt
from loadgen.run.pacing import Pacing
from loadgen.run.schedule import ConstantRate
from loadgen.run.server import Server
from loadgen.run.session import ReplayOptions, replay
from loadgen.workload.files import Command, Workload, load, write
from loadgen.workload.generate import generate

Measured = TypeVar("Measured")

_DELAY_MS, _MEAN_S = "20:58", 0.041
"""The spread stays below twice the mean: above that, wrk adds samples that it believes were omitted."""

_LUA = """
function done(summary, latency, requests)
  io.write(string.format("RESULT %f", summary.requests / summary.duration * 1e6))
  for _, p in ipairs({50, 90, 99, 99.9}) do io.write(string.format(" %f", latency:percentile(p) / 1000)) end
  io.write("\\n")
end
"""


@contextmanager
def stub(*arguments: str, log: list[float] | None = None) -> Iterator[int]:
    """Run the stub server in its own process; yield its port. Its percentiles are added to `log`."""
    process = subprocess.Popen(  # noqa: S603 (our own server)
        [sys.executable, "-m", "loadgen.selftest.stub_server", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait()
        if log is not None:
            log += map(float, process.stdout.readline().split())
        process.stdout.close()


def measure_http_client(port: int, threads: int, count: int) -> tuple[float, float]:
    """Return requests per second and CPU per request in us of `http.client` with one connection per thread."""
    headers = {
        "Authorization": f"Bearer {'t' * 200}",
        "Accept": "application/json",
        "Content-Type": "application/json",
        "Idempotency-Key": "0123456789ab-1",
        "X-Transaction-Num": "1",
    }

    def loop() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for _ in range(count // threads):
            connection.request("POST", "/users/oY01WVirLr/buy", b'{"symbol":"ABC","amount":"276.83"}', headers)
            answer = connection.getresponse()
            assert answer.status == http.HTTPStatus.OK
            answer.read()
        connection.close()

    running = [threading.Thread(target=loop) for _ in range(threads)]
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    done = count // threads * threads
    return done / wall_s, cpu_s * 1e6 / done


def measure_loadgen(port: int, threads: int, count: int) -> tuple[float, float, dict[str, float]]:
    """Return commands per second, CPU per command in us and the latencies in ms of a replay."""
    report = run_loadgen(port, threads, count)
    return report["rate"], report["cost"]["cpu_us_per_command"], report["latency_ms"]


def run_loadgen(port: int, threads: int, count: int, rate: float | None = None) -> dict[str, Any]:
    """Return the report of a replay, at a rate or as fast as answers come."""
    names, share = [f"user{number}" for number in range(threads)], count // threads
    kinds = ("BUY", "COMMIT_BUY", "QUOTE", "ADD")
    fields = {"BUY": ("ABC", "276.83"), "QUOTE": ("ABC", None), "ADD": (None, "63511.53")}
    commands = [
        Command(number + 1, kind, names[number % threads], *fields.get(kind, (None, None)))
        for number, kind in zip(range(threads * share), cycle(kinds), strict=False)
    ]
    server = Server(parse_url(f"http://127.0.0.1:{port}"), "t" * 200, "bench")
    pacing = Pacing() if rate is None else Pacing(ConstantRate(rate), planned_end_s=len(commands) / rate)
    options = ReplayOptions(threads, None, baseline=False, quiet=True, pacing=pacing)
    report = replay(Workload("generated", commands), server, options, Interrupt())
    assert not report["errors"]
    return report


def measure_tree(tree: Path, port: int, threads: int, count: int) -> tuple[float, float]:
    """Return commands per second and CPU per command in us of the load generator in another checkout."""
    script = (
        "import sys; from loadgen.selftest.bench import measure_loadgen as m; print(*m(*map(int, sys.argv[1:]))[:2])"
    )
    command = [sys.executable, "-c", script, str(port), str(threads), str(count)]
    done = subprocess.run(command, cwd=tree, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 (our own code)
    rate, cpu_us = map(float, done.stdout.split())
    return rate, cpu_us


def client(options: argparse.Namespace) -> int:
    """Print the cost of a command beside that of http.client, or of another checkout; return 1 if it is too high.

    Rates are medians of the rounds; the CPU is that of the best round.
    """
    tree = options.beside
    name, limit = ("http.client", 1.5) if tree is None else (tree.name, 1.05)
    print(f"{'threads':>7} {name:>22} {'loadgen':>22} {'rate ratio':>11} {'CPU ratio':>10}")
    good = True
    for threads in options.threads:
        rounds = []
        with stub() as port:
            size = (port, threads, options.commands)
            for _ in range(options.rounds):
                rate, cpu = _alone(measure_http_client, *size) if tree is None else measure_tree(tree, *size)
                our_rate, our_cpu, _ = _alone(measure_loadgen, *size)
                rounds.append((rate, our_rate, our_rate / rate, cpu, our_cpu))
        rate, our_rate, rate_ratio, _, _ = _middle(rounds)
        cpu, our_cpu = (min(column) for column in list(zip(*rounds, strict=True))[3:])  # other work only adds to it
        cpu_ratio = our_cpu / cpu
        print(
            f"{threads:>7} {rate:>10,.0f}/s {cpu:>6.1f} us {our_rate:>11,.0f}/s {our_cpu:>6.1f} us "
            f"{rate_ratio:>11.2f} {cpu_ratio:>10.2f}"
        )
        good = good and cpu_ratio <= limit and (tree is not None or rate_ratio >= 1)
    print(f"at most {limit:g} times the CPU{'' if tree else ', no fewer commands a second'}:", "yes" if good else "NO")
    return 0 if good else 1


def percentiles(options: argparse.Namespace) -> int:
    """Print latencies beside wrk's; return 1 if they differ by more than 10 %."""
    wrk = shutil.which("wrk")
    if wrk is None:
        print("wrk is not installed (Debian: apt-get install wrk)", file=sys.stderr)
        return 2
    with stub("--delay", _DELAY_MS) as port, tempfile.TemporaryDirectory(prefix="loadgen-") as folder:
        script = Path(folder) / "done.lua"
        script.write_text(_LUA)
        size = ["-t1", f"-c{options.connections}", f"-d{options.seconds}s", "-s", str(script)]
        # Both at the same time, so that other work on the machine slows both.
        process = subprocess.Popen(  # noqa: S603 (the wrk that was found)
            [wrk, *size, f"http://127.0.0.1:{port}/users/oY01WVirLr/summary"], stdout=subprocess.PIPE, text=True
        )
        count = round(options.connections * options.seconds / _MEAN_S)
        rate, _, latency_ms = _alone(measure_loadgen, port, options.connections, count)
        said, _ = process.communicate()
    match = re.search(r"RESULT (.*)", said)
    assert match is not None, said
    theirs = [float(number) for number in match[1].split()]
    ours = [rate, *(latency_ms[name] for name in ("p50", "p90", "p99", "p99.9"))]
    good = True
    print(f"{'':>12} {'wrk':>10} {'loadgen':>10} {'ratio':>7}")
    for name, their, our in zip(("commands/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms"), theirs, ours, strict=True):
        print(f"{name:>12} {their:>10,.2f} {our:>10,.2f} {our / their:>7.3f}")
        good = good and (name == "p99.9 ms" or abs(our / their - 1) <= 0.1)
    print("rate and percentiles up to p99 within 10 %:", "yes" if good else "NO")
    return 0 if good else 1


def rates(options: argparse.Namespace) -> int:
    """Print how exactly rates are held, how late commands are sent, and percentiles beside the stub's own log."""
    good = True
    print(f"{'asked':>8} {'sent':>10} {'off by':>8} {'late p50':>10} {'late p99':>10}")
    with stub() as port:
        for rate in options.rates:
            report = _alone(run_loadgen, port, 32, round(rate * options.seconds / 32) * 32, rate)
            schedule = report["schedule"]
            had = schedule["planned"] / (schedule["planned_s"] + schedule["last_late_s"])
            off, late = abs(had / rate - 1), schedule["late_ms"]
            print(f"{rate:>6g}/s {had:>8,.2f}/s {100 * off:>6.3f} % {late['p50']:>7.3f} ms {late['p99']:>7.3f} ms")
            good = good and schedule["held"] and off <= 0.001 and late["p50"] < 0.2
    log: list[float] = []
    with stub("--delay", _DELAY_MS, log=log) as port:
        found = _alone(run_loadgen, port, 16, 16 * 20 * options.seconds)["latency_ms"]
    print(f"{'':>8} {'server':>10} {'loadgen':>10} {'ratio':>7}")
    for name, theirs in (("p50", log[49]), ("p90", log[89]), ("p99", log[98])):
        print(f"{name:>8} {theirs:>7.2f} ms {found[name]:>7.2f} ms {found[name] / theirs:>7.4f}")
        good = good and abs(found[name] / theirs - 1) <= 0.01
    print("rates within 0.1 %, median lateness under 0.2 ms, percentiles within 1 %:", "yes" if good else "NO")
    return 0 if good else 1


def parse(options: argparse.Namespace) -> int:
    """Print how long reading a workload takes, and how much memory."""
    with tempfile.TemporaryDirectory(prefix="loadgen-") as folder:
        path = Path(folder) / "workload"
        with path.open("wb") as file:
            write(generate(options.users, options.lines, 500, 1), file)
        seconds, cpu_s, megabytes = _alone(_measure_parse, path)
        size = path.stat().st_size / 1e6
    took = f"{seconds:.2f} s ({cpu_s:.2f} s of CPU), {megabytes:,.0f} MB"
    print(f"{options.lines:,} lines ({size:,.0f} MB): {took} of memory at most")
    return 0


def _measure_parse(path: Path) -> tuple[float, float, float]:
    start, cpu_s = time.perf_counter(), time.process_time()
    workload = load(path)
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu_s
    assert workload.commands
    return seconds, cpu_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _alone(measure: Callable[..., Measured], *arguments: object) -> Measured:
    """Measure in a new process, so that earlier work does not count."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def _middle(found: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.median(column) for column in zip(*found, strict=True)]


_PROG = "python -m loadgen.selftest.bench"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog=_PROG, description=__doc__)
    show_example(parser, f"{_PROG} client --threads 1 16")
    adding = parser.add_subparsers(metavar="WHAT", required=True)
    one = adding.add_parser("client", help="commands a second and CPU a command")
    one.set_defaults(run=client)
    show_example(one, f"{_PROG} client")
    one.add_argument("--threads", type=int, nargs="+", default=[1, 16, 64])
    one.add_argument("--commands", type=int, default=20_000)
    one.add_argument("--rounds", type=int, default=3)
    one.add_argument("--beside", type=Path, metavar="TREE", help="another checkout, in place of http.client")
    one = adding.add_parser("percentiles", help="latencies beside those of wrk")
    one.set_defaults(run=percentiles)
    show_example(one, f"{_PROG} percentiles")
    one.add_argument("--connections", type=int, default=16)
    one.add_argument("--seconds", type=int, default=20)
    one = adding.add_parser("rates", help="rates that are held, lateness, percentiles beside the server's own log")
    one.set_defaults(run=rates)
    show_example(one, f"{_PROG} rates")
    one.add_argument("--rates", type=float, nargs="+", default=[100, 1000, 3000])
    one.add_argument("--seconds", type=int, default=10)
    one = adding.add_parser("parse", help="time and memory for a workload file")
    one.set_defaults(run=parse)
    show_example(one, f"{_PROG} parse")
    one.add_argument("--lines", type=int, default=1_200_000)
    one.add_argument("--users", type=int, default=1000)
    options = parser.parse_args(arguments)
    print(f"{json.dumps(machine.describe())}, {platform.python_implementation()}")
    status: int = options.run(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
