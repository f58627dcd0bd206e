"""What the faults `late-request` and `rolling-upgrade` are made with."""

import json
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chalicelib.store.documents import DATA_VERSION
from infra.faults.late_requests import HELD, HELD_CENTS, NEWER, LateRequests, NotAnsweredError
from infra.faults.older_version import NoOlderCodeError, older_code
from infra.host.ports import HOST
from infra.local.parts import link_code


class Server(ThreadingHTTPServer):
    """Answers every command at its second try, 503 at the first; counts them by user and key."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), Handler)
        self.tries: Counter[tuple[str, str]] = Counter()
        self.cents: dict[tuple[str, str], int] = {}
        self.refuses = False
        self.lock = threading.Lock()
        self.got_all_newer = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        amount = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["amount"]
        command = (self.path.split("/")[2], self.headers["Idempotency-Key"])
        with self.server.lock:
            self.server.tries[command] += 1
            self.server.cents[command] = round(float(amount) * 100)
            is_first = self.server.tries[command] == 1
        if command == ("late-1", f"newer-{NEWER - 1}"):
            self.server.got_all_newer.set()
        self.send_response(422 if self.server.refuses else 503 if is_first and "held" in command[1] else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_late_requests_are_sent_again_with_their_keys_and_what_they_add_is_known(server: Server) -> None:
    late = LateRequests(f"http://{HOST}:{server.server_port}", "a token")
    late.begin()
    stop = late.begin()
    assert server.got_all_newer.wait(60)
    stop()
    expected = late.expected_cents()
    late.close()
    assert expected["late-1"] == HELD * HELD_CENTS + NEWER
    for user in ("late-1", "late-2"):
        assert expected[user] == sum(cents for (name, _), cents in server.cents.items() if name == user)
        assert [server.tries[user, f"held-{number}"] for number in range(HELD)] == [2] * HELD


def test_a_late_request_without_a_final_answer_is_said(server: Server) -> None:
    server.refuses = True
    late = LateRequests(f"http://{HOST}:{server.server_port}", "a token")
    late.begin()
    with pytest.raises(NotAnsweredError, match="the last answer was 422"):
        late.expected_cents()
    late.close()


def git(repository: Path, *arguments: str) -> None:
    who = {f"GIT_{role}_{what}": "test@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(
        ["git", "-C", str(repository), *arguments], check=True, capture_output=True, env={**os.environ, **who}
    )


def commit(repository: Path, **files: str) -> None:
    for name, text in files.items():
        path = repository / {"documents": "chalicelib/store/documents.py"}.get(name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "a commit")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "-q")
    return repository


def test_the_older_code_is_that_before_the_last_change_of_the_code(repository: Path, tmp_path: Path) -> None:
    form = f"DATA_VERSION = {DATA_VERSION}\n"
    commit(repository, documents=form, a="1")
    commit(repository, documents=f"{form}# changed\n", a="2")
    commit(repository, a="3")
    older = older_code(repository, tmp_path / "older")
    assert (older.folder / "chalicelib/store/documents.py").read_text() == form
    assert (older.folder / "a").read_text() == "1"


def test_the_older_code_is_the_newest_tag_where_there_is_one(repository: Path, tmp_path: Path) -> None:
    form = f"DATA_VERSION = {DATA_VERSION}\n"
    commit(repository, documents=form, a="1")
    git(repository, "tag", "v1.0")
    commit(repository, documents=f"{form}# changed\n", a="2")
    commit(repository, documents=f"{form}# again\n", a="3")
    older = older_code(repository, tmp_path / "older")
    assert (older.name, (older.folder / "a").read_text()) == ("v1.0", "1")
    assert (older_code(repository, tmp_path / "wanted", "HEAD^").folder / "a").read_text() == "2"


def test_code_for_other_data_never_runs_beside_ours(repository: Path, tmp_path: Path) -> None:
    commit(repository, documents=f"DATA_VERSION = {DATA_VERSION - 1}\n")
    commit(repository, documents=f"DATA_VERSION = {DATA_VERSION}\n")
    with pytest.raises(NoOlderCodeError, match=f"works on data of version {DATA_VERSION - 1}, this code on"):
        older_code(repository, tmp_path / "older")


def test_without_an_older_version_the_reason_is_said(repository: Path, tmp_path: Path) -> None:
    commit(repository, documents=f"DATA_VERSION = {DATA_VERSION}\n")
    with pytest.raises(NoOlderCodeError, match="git rev-parse"):
        older_code(repository, tmp_path / "older")
    with pytest.raises(NoOlderCodeError, match="not a git repository"):
        older_code(tmp_path, tmp_path / "older")


def test_a_server_runs_the_code_that_its_link_names(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for code in (one, other):
        code.mkdir()
        link_code(tmp_path, "gateway-1", code)
        assert (tmp_path / "code" / "gateway-1").resolve() == code
