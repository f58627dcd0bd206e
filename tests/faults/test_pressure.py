"""What faults do to a stack besides ending its parts: requests over and over, a cache of garbage, no descriptors."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis

from infra.faults.cluster import Cluster, NotWholeError
from infra.faults.pressure import Pressure
from infra.host.ports import HOST
from infra.local import control
from infra.local.supervisor import PartStatus, State

SECONDS = 30.0


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("status", "is_wrong"), [(200, False), (409, False), (503, False), (500, True), (501, True)])
def test_requests_go_out_until_they_are_ended_and_a_fault_of_ours_is_told(status: int, is_wrong: bool) -> None:
    seen: list[tuple[str, str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers["Authorization"], body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        pressure = Pressure(f"http://{HOST}:{server.server_address[1]}", "a token")
        assert pressure.wrong() == ""
        end = pressure.begin("/dumplog", {"filename": "asked"}, at_once=3)
        until(lambda: len(seen) > 20)
        end()
        pressure.settle()
        count = len(seen)
        assert pressure.statuses == {status: count}
        assert set(seen) == {("/dumplog", "Bearer a token", b'{"filename": "asked"}')}
        assert bool(pressure.wrong()) is is_wrong
        server.shutdown()


def test_what_is_under_way_does_not_keep_an_end_from_coming() -> None:
    asked, answers = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.set()
            answers.wait(SECONDS)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        pressure = Pressure(f"http://{HOST}:{server.server_address[1]}", "a token")
        end = pressure.begin("/dumplog", {"filename": "asked"}, at_once=1)
        assert asked.wait(SECONDS)
        end()
        assert (pressure.sent, pressure.statuses.total()) == (1, 0)
        answers.set()
        pressure.settle()
        assert (pressure.sent, pressure.statuses) == (1, {200: 1})
        server.shutdown()


def site_on(folder: Path, ports: dict[str, int] | None = None, **stack: Any) -> Cluster:
    """Return a cluster whose stack is no more than what one of its faults touches."""
    (folder / "ports.json").write_text(json.dumps(ports or {}))
    facts = {"data": folder, "url": "http://127.0.0.1:1", "operator_token": "", **stack}
    return Cluster(SimpleNamespace(**facts), None, None, None, None)  # type: ignore[arg-type]  # no more than is touched


def test_a_spoiled_cache_has_nothing_that_was_in_it_and_locks_that_never_end(tmp_path: Path, redis_url: str) -> None:
    keys = {b"spoiled:quote:%d" % number for number in range(30)}
    with Redis.from_url(redis_url) as redis:
        for key in keys:
            redis.set(key, "good", px=60_000)
        site_on(tmp_path, redis_url=redis_url).spoil_cache(random.Random(7))
        there = set(redis.scan_iter("spoiled:*"))
        assert there == keys | {key + b":lock" for key in keys}
        assert {redis.type(key) for key in there} == {b"string", b"list", b"hash"}
        assert {redis.pttl(key) for key in there} == {-1}
        assert b"good" not in {redis.get(key) for key in there if redis.type(key) == b"string"}
        redis.delete(*there)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody sets the limits of another process")
def test_a_server_without_descriptors_opens_nothing_until_that_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked line by line: what it has open it keeps. A server may have been started again since the stack was."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    program = """
import os, sys
for line in sys.stdin:
    try:
        os.close(os.open("/dev/null", os.O_RDONLY)); print("opened", flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def asked() -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        assert asked() == "opened"
        cluster = site_on(tmp_path)
        for pid in (None, ended.pid):
            monkeypatch.setattr(control, "ask", lambda *_, pid=pid: [PartStatus("gateway-1", State.RUNNING, pid, "")])
            with pytest.raises(NotWholeError):
                cluster.limit_descriptors("gateway-1")
        now = [PartStatus("gateway-1", State.RUNNING, process.pid, "")]
        monkeypatch.setattr(control, "ask", lambda *_: now)
        end = cluster.limit_descriptors("gateway-1")
        assert asked() == os.strerror(24)
        end()
        assert asked() == "opened"
        process.stdin.close()
    end()  # harmless when it has gone
