"""Workloads of any HTTP requests: read, sent in order at their pace, and judged by what they expect."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from loadgen.cli import main
from tests.unit.loadgen.runs import report_of, undisturbed


class Site(ThreadingHTTPServer):
    """Answers `/status/NNN` with that status, and `/lost` by closing at its first try; notes all that came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.seen: list[tuple[float, str, str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def paths(self) -> list[str]:
        return [path for _, _, path, _, _ in self.seen]


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Site

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name in the base class)
        """Say nothing."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        first = self.path not in self.server.paths()
        self.server.seen.append((time.monotonic(), self.command, self.path, dict(self.headers), body))
        if self.path.startswith("/lost") and first:
            self.close_connection = True
            return
        status = int(self.path.split("/")[2]) if self.path.startswith("/status/") else 200
        self.send_response(status)
        self.send_header("Content-Length", "5")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"hello")

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _answer  # noqa: N815 (names of the base class)


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def write(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def replay(site: Site, path: Path, *options: str) -> int:
    return main(["replay", str(path), "--url", site.url, "--quiet", *options])


def test_a_workload_of_requests_is_replayed_at_twice_its_pace_and_in_order(site: Site, tmp_path: Path) -> None:
    """Three streams, each with a request every 60 ms, recorded from some moment of the past on."""
    began_ms = 1_700_000_000_000
    lines = [
        {"stream": f"s{number % 3}", "at_ms": began_ms + 20 * number, "path": f"/{number % 3}/{number}"}
        for number in range(60)
    ]

    def measure() -> None:
        site.seen.clear()
        out = tmp_path / "out.json"
        path = write(tmp_path / "lines.jsonl", *lines)
        assert replay(site, path, "--pace", "recorded", "--speed", "2", "--json", str(out)) == 0
        by_stream = defaultdict(list)
        for path_seen in site.paths():
            _, stream, number = path_seen.split("/")
            by_stream[stream].append(int(number))
        assert by_stream == {str(stream): list(range(stream, 60, 3)) for stream in range(3)}
        start = min(moment - 0.01 * int(path.split("/")[2]) for moment, _, path, _, _ in site.seen)
        late = [moment - start - 0.01 * int(path.split("/")[2]) for moment, _, path, _, _ in site.seen]
        assert sorted(late)[30] < 0.01
        schedule = report_of(out)["schedule"]
        assert (schedule["held"], schedule["planned"]) == (True, 60)
        assert schedule["planned_s"] == pytest.approx(0.591)
        assert report_of(out)["run"]["pace"] == "at 2 times the recorded pace"

    undisturbed(measure)


def test_a_request_goes_out_as_its_line_says(site: Site, tmp_path: Path) -> None:
    path = write(
        tmp_path / "lines",
        {
            "stream": "a",
            "method": "PUT",
            "path": "/x?y=1",
            "headers": {"X-A": "b", "accept": "text/html"},
            "body": "raw",
        },
        {"stream": "a", "method": "POST", "path": "/j", "body": {"n": 1}, "key": "Idempotency-Key"},
        {"stream": "a", "method": "HEAD", "path": "/h"},
        {"stream": "a", "path": "/last"},
    )
    assert replay(site, path, "--token", "t", "--run-id", "r", "--header", "X-All: 1") == 0
    put, post, head, last = ((method, path, headers, body) for _, method, path, headers, body in site.seen)
    assert (put[0], put[1], put[2]["X-A"], put[2]["accept"], put[3]) == ("PUT", "/x?y=1", "b", "text/html", b"raw")
    assert "Accept" not in put[2]
    assert put[2]["Authorization"] == "Bearer t"
    assert (json.loads(post[3]), post[2]["Content-Type"], post[2]["Idempotency-Key"]) == (
        {"n": 1}, "application/json", "r-2",
    )  # fmt: skip
    assert (head[0], last[1], last[2]["X-All"]) == ("HEAD", "/last", "1")


def test_a_line_without_a_stream_is_a_barrier(site: Site, tmp_path: Path) -> None:
    lines = [{"stream": f"s{number}", "path": f"/before/{number}"} for number in range(8)]
    lines += [{"path": "/barrier"}, *({"stream": f"s{number}", "path": f"/after/{number}"} for number in range(8))]
    assert replay(site, write(tmp_path / "lines", *lines)) == 0
    parts = [path.split("/")[1] for path in site.paths()]
    assert parts == ["before"] * 8 + ["barrier"] + ["after"] * 8


def test_what_is_not_expected_is_an_error_with_an_example(site: Site, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    path = write(
        tmp_path / "lines",
        {"stream": "a", "path": "/status/404"},
        {"stream": "a", "path": "/status/404", "expect": 404},
        {"stream": "a", "path": "/status/201", "expect": [200, 202], "name": "create"},
        {"stream": "a", "path": "/status/500"},
    )
    assert replay(site, path, "--json", str(out)) == 1
    report = report_of(out)
    assert report["outcomes"] == {"404 http_404": 1, "404 ok": 1, "201 http_201": 1, "500 http_500": 1}
    assert report["errors"] == 2
    assert report["by_command"].keys() == {"GET /status", "create"}
    assert report["examples"]["201 http_201"] == {
        "command": "create", "transaction": 3, "said": "status 201, expected 200 or 202", "body": "hello",
    }  # fmt: skip
    assert replay(site, path, "--fail-on", "http_500>0") == 3


def test_only_what_is_safe_to_repeat_is_sent_again_when_its_answer_is_lost(site: Site, tmp_path: Path) -> None:
    path = write(
        tmp_path / "lines",
        {"stream": "a", "method": "POST", "path": "/lost/1"},
        {"stream": "a", "method": "POST", "path": "/lost/2", "key": "Idempotency-Key"},
        {"stream": "a", "path": "/lost/3"},
    )
    out = tmp_path / "out.json"
    assert replay(site, path, "--json", str(out)) == 1
    assert site.paths() == ["/lost/1", "/lost/2", "/lost/2", "/lost/3", "/lost/3"]
    assert report_of(out)["outcomes"] == {"200 ok": 2, "0 connection": 1}


def test_answers_of_any_form_are_recorded_and_rounds_keep_their_pace(site: Site, tmp_path: Path) -> None:
    answers, out = tmp_path / "answers", tmp_path / "out.json"
    path = write(
        tmp_path / "lines", {"stream": "a", "at_ms": 0, "path": "/"}, {"stream": "a", "at_ms": 50, "path": "/"}
    )
    options = ["--repeat", "3", "--pace", "recorded", "--answers", str(answers), "--json", str(out)]
    assert replay(site, path, *options) == 0
    recorded = [json.loads(line) for line in answers.read_text().splitlines()]
    assert [(line["n"], line["answer"]) for line in recorded[1:]] == [(number, "hello") for number in range(1, 7)]
    assert report_of(out)["schedule"]["planned_s"] == pytest.approx(0.153)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "the line is not JSON"),
        ("{}", "path is missing"),
        ('{"path": "x"}', "path is not usable"),
        ('{"path": "/a b"}', "path is not usable"),
        ('{"path": "/", "method": "G T"}', "method is not usable"),
        ('{"path": "/", "stream": ""}', "stream must be a text"),
        ('{"path": "/", "at_ms": 1.5}', "at_ms must be a whole number"),
        ('{"path": "/", "expect": "ok"}', "expect must be a status"),
        ('{"path": "/", "headers": {"X": "a\\nb"}}', "header 'X' is not usable"),
        ('{"path": "/", "headers": {"Host": "x"}}', "header Host is the load generator's own"),
        ('{"path": "/", "pth": "/"}', "unknown field 'pth'"),
        ("[1] ADD,a,1.00", "the line is not JSON"),
    ],
)
def test_a_line_that_is_no_request_is_named_and_nothing_is_sent(
    site: Site, tmp_path: Path, line: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lines"
    path.write_text('{"path": "/fine"}\n' + line + "\n")
    assert replay(site, path) == 2
    assert f"{path}: line 2: {reason}" in capsys.readouterr().err
    assert site.seen == []


def test_requests_are_not_verified_and_that_is_said(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "lines", {"path": "/"})
    assert replay(site, path, "--verify") == 2
    assert "only trading workloads are verified" in capsys.readouterr().err
    assert replay(site, path, "--dry-run") == 0
    assert site.seen == []
