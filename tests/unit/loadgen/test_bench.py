"""The load generator's own cost and the trust in its figures: small runs of what `loadgen.selftest.bench` measures."""

import http.client
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from infra.local.stack import PROJECT
from loadgen.selftest.bench import main, stub
from tests.unit.loadgen.runs import finished, report_of, start, undisturbed

CLIENTS = 8


def test_a_command_costs_less_than_a_bare_request_of_http_client(capsys: pytest.CaptureFixture[str]) -> None:
    """At most 1.5 times the CPU is what must hold, and no fewer commands a second."""

    def compare() -> None:
        ended = main(["client", "--threads", "16", "--commands", "3000", "--rounds", "3"])
        said = capsys.readouterr().out
        assert ended == 0, said
        assert "at most 1.5 times the CPU, no fewer commands a second: yes" in said
        assert '"cpu": ' in said

    undisturbed(compare)


def test_a_command_costs_as_much_as_in_another_checkout(capsys: pytest.CaptureFixture[str]) -> None:
    """The other checkout is this one."""

    def compare() -> None:
        main(["client", "--threads", "4", "--commands", "1000", "--rounds", "3", "--beside", str(PROJECT)])
        said = capsys.readouterr().out
        assert "at most 1.05 times the CPU: " in said
        assert float(said.splitlines()[-2].split()[-1]) == pytest.approx(1, rel=0.5)

    undisturbed(compare)


def measure_latencies(port: int, latencies_ms: list[float], stopping: threading.Event) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while not stopping.is_set():
        began = time.perf_counter()
        connection.request("GET", "/users/jane/summary")
        connection.getresponse().read()
        latencies_ms.append((time.perf_counter() - began) * 1000)
    connection.close()


def test_latencies_are_those_that_another_client_of_the_same_server_sees_at_the_same_time(tmp_path: Path) -> None:
    """`loadgen.selftest.bench percentiles` holds them against wrk's."""
    undisturbed(lambda: compare_with_another_client(tmp_path))


def compare_with_another_client(folder: Path) -> None:
    path, out = folder / "workload", folder / "out.json"
    path.write_text("".join(f"[{number}] ADD,user{number % CLIENTS},1.00\n" for number in range(1, 100 * CLIENTS + 1)))
    theirs: list[float] = []
    stopping = threading.Event()
    with stub("--delay", "20:58") as port:
        threads = [threading.Thread(target=measure_latencies, args=(port, theirs, stopping)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        replay = start("replay", path, "--url", f"http://127.0.0.1:{port}", "--token", "t", "--json", out)
        code, _, errors = finished(replay)
        stopping.set()
        for thread in threads:
            thread.join()
    assert code == 0, errors
    ours = report_of(out)["latency_ms"]
    assert ours["count"] == 100 * CLIENTS
    cuts = statistics.quantiles(theirs, n=100)
    assert ours["p50"] == pytest.approx(cuts[49], rel=0.1)
    assert ours["p90"] == pytest.approx(cuts[89], rel=0.1)
    assert ours["p99"] == pytest.approx(cuts[98], rel=0.2)


def test_rates_are_held_and_percentiles_are_those_of_the_servers_own_log(capsys: pytest.CaptureFixture[str]) -> None:
    """What must hold on an idle machine is judged by `loadgen.selftest.bench rates`; here more may be off."""

    def measure() -> None:
        main(["rates", "--rates", "100", "1000", "--seconds", "1"])
        said = capsys.readouterr().out
        off = [float(found) for found in re.findall(r"([0-9.]+) %\s", said)]
        ratios = [float(found) for found in re.findall(r"ms\s+([0-9.]+)$", said, re.MULTILINE)]
        assert len(off) == 2
        assert max(off) <= 1
        assert ratios == pytest.approx([1, 1, 1], abs=0.1)

    undisturbed(measure)


def test_percentiles_beside_those_of_wrk_say_when_there_is_no_wrk(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadgen.selftest.bench", "percentiles"]
    nowhere = {"PATH": str(tmp_path)}
    ended = subprocess.run(command, cwd=PROJECT, env=nowhere, check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (2, "wrk is not installed (Debian: apt-get install wrk)\n")
    assert json.loads(ended.stdout.rpartition(",")[0])["cores"] >= 1
