"""DUMPLOG to S3, on a server that takes its place: parts, links, failures, and dumps that several processes finish."""

import http.server
import json
import threading
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from chalice.test import Client

from app import app
from chalicelib.audit.dumps import Dumps, HandOver
from chalicelib.audit.folder import Folder
from chalicelib.audit.function import MARGIN_MS, go_on, starter
from chalicelib.audit.journal import Pace
from chalicelib.audit.places import BLOCK_BYTES, MIN_PART_BYTES, Place, PlaceError, PlaceWriter
from chalicelib.audit.retention import DAY_MS, Retention
from chalicelib.domain.errors import DumpQuotaError, StoreUnavailableError
from chalicelib.domain.journal import Entry
from chalicelib.runtime import make_place
from infra.audit.journals import FIRST_MS, make_journals
from infra.cloud.aws_server import AWS, aws_server
from tests.integration.api import running_api
from tests.integration.audit_parts import Bucket, dumplog, read_log, transactions
from tests.integration.shop import Shop, settings_for

LATER_MS = FIRST_MS + 10**9
COMMANDS = 31_000
"""Some 75,000 events, 18 MB of log: three parts."""


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server in the place of AWS."""
    with aws_server(tmp_path_factory.mktemp("aws")) as url:
        yield url


@pytest.fixture
def bucket(aws: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Return a bucket of the test's own; boto3 finds it."""
    for name, value in {**AWS, "AWS_ENDPOINT_URL": aws}.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    name = f"logs-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    yield Bucket(client, name)
    client.close()


@pytest.fixture(scope="module")
def large(mongo_uri: str) -> Iterator[Shop]:
    """Return a shop whose log is larger than two parts; tests do not add to it."""
    with closing(Shop(settings_for(mongo_uri, "test_audit_s3_large"))) as shop:
        make_journals(shop.database, users=100, commands=COMMANDS)
        yield shop
        shop.database.client.drop_database("test_audit_s3_large")


@pytest.fixture(scope="module")
def expected(large: Shop, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the log of the large shop as a folder gets it."""
    large.database.drop_collection("dumps")
    result = dumps_to(large, Folder(tmp_path_factory.mktemp("folder"))).write(dumplog(large.now_ms), "auditor", 1)
    large.database.drop_collection("dumps")
    return Path(result["location"]).read_bytes()


@pytest.fixture
def large_shop(large: Shop) -> Shop:
    """Return the large shop, without dumps of other tests."""
    large.database.drop_collection("dumps")
    return large


def dumps_to(shop: Shop, place: Place, hand_over: HandOver | None = None, **more: Any) -> Dumps:
    return Dumps(shop.database, place, lambda: shop.now_ms, hand_over, **more)


def place_in(bucket: Bucket, prefix: str = "") -> Place:
    return make_place(f"s3://{bucket.name}{prefix}", 600)


def downloaded(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310  # our own
        body: bytes = response.read()
        return body


def test_a_large_log_goes_up_in_parts_and_its_link_gives_the_same_bytes(
    large_shop: Shop, bucket: Bucket, expected: bytes
) -> None:
    result = dumps_to(large_shop, place_in(bucket)).write(dumplog(large_shop.now_ms), "auditor", 1)
    assert result["location"] == f"s3://{bucket.name}/all/log.xml"
    assert bucket.parts("all/log.xml") == 1 + len(expected) // MIN_PART_BYTES == 3
    assert downloaded(result["url"]) == bucket.read("all/log.xml") == expected
    assert len(read_log(expected)) == result["events"]
    assert bucket.uploads == []


def test_a_small_log_goes_up_in_one_request(shop: Shop, bucket: Bucket) -> None:
    shop.does("ADD", amount="1.00")
    result = dumps_to(shop, place_in(bucket, "/some/where/")).write(dumplog(shop.now_ms), "auditor", 1)
    assert result["location"] == f"s3://{bucket.name}/some/where/all/log.xml"
    assert bucket.parts("some/where/all/log.xml") == 0
    assert transactions(read_log(downloaded(result["url"]))) == [1]


def test_every_call_says_whose_the_bucket_has_to_be(bucket: Bucket) -> None:
    called: dict[str, Any] = {}

    def note(request: Any, event_name: str, **_more: Any) -> None:
        called[event_name.rpartition(".")[2]] = request.headers.get("x-amz-expected-bucket-owner")

    boto3.setup_default_session()
    assert boto3.DEFAULT_SESSION is not None
    boto3.DEFAULT_SESSION.events.register("before-send.s3", note)
    place = make_place(f"s3://{bucket.name}", 600, "123456789012")
    writer = place.writer("in-parts")
    writer.add(b"x" * MIN_PART_BYTES)
    resumed = place.resume("in-parts", writer.state or {})
    resumed.add(b"the end")
    resumed.finish()
    aborted = place.writer("aborted")
    aborted.add(b"x" * MIN_PART_BYTES)
    aborted.abort()
    whole = place.writer("whole")
    whole.add(b"a small log")
    whole.finish()
    with place.open("whole") as file:
        assert file.read() == b"a small log"
    place.remove("whole")
    boto3.setup_default_session()
    uploads = {"CreateMultipartUpload", "UploadPart", "ListParts", "CompleteMultipartUpload", "AbortMultipartUpload"}
    assert set(called) == uploads | {"PutObject", "HeadObject", "GetObject", "DeleteObject"}
    assert {str(owner, "ascii") if isinstance(owner, bytes) else owner for owner in called.values()} == {"123456789012"}


@pytest.mark.parametrize("name", ["log.xml", "größe €.xml", "a&b=c?d#e%f+g h'.xml", "..x", "\N{MONEY BAG}"])
def test_the_link_of_any_name_leads_to_its_log(shop: Shop, bucket: Bucket, name: str) -> None:
    entry = dumplog(shop.now_ms, "jane", name, of_all=False)
    result = dumps_to(shop, place_in(bucket)).write(entry, "jane", 1)
    assert bucket.keys == [f"users/jane/{name}"]
    assert downloaded(result["url"]) == bucket.read(f"users/jane/{name}")


def test_a_link_holds_as_long_as_the_setting_says_and_is_made_anew_for_a_repeated_dump(
    shop: Shop, bucket: Bucket
) -> None:
    entry = dumplog(shop.now_ms)
    for seconds in (600, 1200):
        result = dumps_to(shop, make_place(f"s3://{bucket.name}", seconds)).write(entry, "auditor", 1)
        asked = urllib.parse.parse_qs(urllib.parse.urlsplit(result["url"]).query)
        assert asked["X-Amz-Expires"] == [str(seconds)]


class Failing:
    """A place whose writers fail at a certain piece, or at the end."""

    def __init__(self, place: Place, at_piece: int | None) -> None:
        self.place = place
        self.at_piece = at_piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self.place, name)

    def writer(self, path: str) -> PlaceWriter:
        return FailingWriter(self.place.writer(path), self.at_piece)


class FailingWriter:
    def __init__(self, writer: PlaceWriter, at_piece: int | None) -> None:
        self.writer = writer
        self.at_piece = at_piece
        self.pieces = 0

    @property
    def state(self) -> Mapping[str, Any] | None:
        return self.writer.state

    def add(self, piece: bytes) -> None:
        self.pieces += 1
        if self.pieces == self.at_piece:
            raise PlaceError("the network is gone")
        self.writer.add(piece)

    def finish(self) -> None:
        raise PlaceError("the network is gone at the very end")

    def abort(self) -> None:
        self.writer.abort()


@pytest.mark.parametrize("at_piece", [2, None])
def test_a_dump_that_fails_leaves_no_parts_and_no_file(large_shop: Shop, bucket: Bucket, at_piece: int | None) -> None:
    place: Any = Failing(place_in(bucket), at_piece)
    dumps = dumps_to(large_shop, place)
    with pytest.raises(StoreUnavailableError):
        dumps.write(dumplog(large_shop.now_ms), "auditor", 1)
    assert (bucket.uploads, bucket.keys) == ([], [])


def test_a_failed_dump_leaves_the_log_before_it_and_can_be_sent_again(
    large_shop: Shop, bucket: Bucket, expected: bytes
) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key="all/log.xml", Body=b"the log before")
    entry, place = dumplog(large_shop.now_ms), place_in(bucket)
    failing: Any = Failing(place, 3)
    with pytest.raises(StoreUnavailableError):
        dumps_to(large_shop, failing).write(entry, "auditor", 1)
    assert bucket.read("all/log.xml") == b"the log before"
    dumps_to(large_shop, place).write(entry, "auditor", 1)
    assert bucket.read("all/log.xml") == expected


def test_a_bucket_that_is_not_there_is_unavailable(shop: Shop, bucket: Bucket) -> None:
    with pytest.raises(StoreUnavailableError):
        dumps_to(shop, make_place("s3://nowhere-at-all", 600)).write(dumplog(shop.now_ms), "auditor", 1)
    with pytest.raises(PlaceError):
        place_in(bucket).open("nothing")


def begin_dump(shop: Shop, entry: Entry, **state: object) -> None:
    """Leave a dump of all users as one who writes it, or wrote it, has begun it."""
    about = {"user": "auditor", "file": "all/log.xml", "of_all": True, "at": entry.timestamp_ms}
    shop.database["dumps"].insert_one({"_id": "auditor:1", **about, **state})


def test_what_a_killed_process_has_sent_is_removed_and_the_log_begun_anew(
    large_shop: Shop, bucket: Bucket, expected: bytes
) -> None:
    """It had noted a part, and may have sent more: nobody knows what, so nothing of it is used."""
    place = place_in(bucket)
    left = place.writer("all/log.xml")
    left.add(b"x" * MIN_PART_BYTES)
    assert len(bucket.uploads) == 1
    entry = dumplog(large_shop.now_ms)
    gone = {"by": "one that is gone", "until": 0}
    begin_dump(large_shop, entry, lease=gone, after=[1, "x", 1], events=7, upload=left.state)
    result = dumps_to(large_shop, place).write(entry, "auditor", 1)
    assert result["events"] == len(read_log(expected))
    assert bucket.read("all/log.xml") == expected
    assert bucket.uploads == []


class Function:
    """Stands for the function of the cloud: notes what it was started for."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def __call__(self, dump_id: str) -> None:
        self.started.append(dump_id)


def slow_clock() -> Any:
    """Return a timer by which 70 s pass between two looks."""
    looks = count()
    return lambda: 70.0 * next(looks)


def test_a_log_that_takes_longer_than_a_request_may_is_finished_by_the_function(
    large_shop: Shop, bucket: Bucket, expected: bytes
) -> None:
    """However often it is put aside: each run writes a part or two, with slices that do not end where parts do.

    Meanwhile the command is answered 503, to be sent again, and then with the log.
    """
    function = Function()
    hand_over = HandOver(function, limit_ms=150_000)
    entry = dumplog(LATER_MS)
    dumps = dumps_to(large_shop, place_in(bucket), hand_over, timer=slow_clock(), pace=Pace(12_000))
    with pytest.raises(StoreUnavailableError, match=f"s3://{bucket.name}/all/log.xml") as raised:
        dumps.write(entry, "auditor", 1)
    assert raised.value.retry_after_seconds == 5
    runs = 0
    while function.started:
        assert function.started == ["auditor:1"]
        assert bucket.keys == []
        function.started.clear()
        runs += 1
        assert dumps.go_on("auditor:1", 150_000) != bool(function.started)
    assert runs >= 2
    assert bucket.read("all/log.xml") == expected
    assert bucket.uploads == []
    answer = dumps.write(entry, "auditor", 1)
    assert answer["events"] == len(read_log(expected))
    assert downloaded(answer["url"]) == expected
    assert dumps.go_on("auditor:1", 150_000), "a function that is called twice does no harm"


def test_while_the_function_writes_a_request_waits_and_then_says_so(large_shop: Shop, bucket: Bucket) -> None:
    entry = dumplog(large_shop.now_ms)
    begin_dump(large_shop, entry, lease={"by": "the function", "until": large_shop.now_ms + 10_000})
    function = Function()
    dumps = dumps_to(large_shop, place_in(bucket), HandOver(function, limit_ms=300_000), timer=slow_clock())
    with pytest.raises(StoreUnavailableError, match="still being written"):
        dumps.write(entry, "auditor", 1)
    assert not dumps.go_on("auditor:1", 300_000)
    assert (function.started, bucket.keys, bucket.uploads) == ([], [], [])


def test_mongodb_taking_too_long_to_sort_puts_the_dump_aside(large_shop: Shop, bucket: Bucket) -> None:
    function = Function()
    dumps = dumps_to(large_shop, place_in(bucket), HandOver(function, limit_ms=1), timer=slow_clock())
    entry = dumplog(large_shop.now_ms)
    with pytest.raises(StoreUnavailableError, match="still being written"):
        dumps.write(entry, "auditor", 1)
    assert function.started == ["auditor:1"]
    assert "lease" not in (large_shop.database["dumps"].find_one({"_id": "auditor:1"}) or {})


def test_archives_taking_too_long_for_a_request_leave_the_log_of_a_user_to_the_function(
    shop: Shop, bucket: Bucket
) -> None:
    """Nothing of it was written yet: the function begins, and goes on however long that takes."""
    make_journals(shop.database, users=3, commands=1_000, keys=False)
    Retention(shop.database, place_in(bucket), lambda: FIRST_MS + 100 * DAY_MS, 1).run()
    function = Function()
    dumps = dumps_to(shop, place_in(bucket), HandOver(function, limit_ms=60_000), timer=slow_clock())
    user = shop.database["archives"].find_one()["users"][0]  # type: ignore[index]
    with pytest.raises(StoreUnavailableError, match="still being written"):
        dumps.write(dumplog(LATER_MS, user, of_all=False), user, 1)
    assert function.started == [f"{user}:1"]
    assert dumps.go_on(f"{user}:1", 60_000)
    assert len(function.started) == 1


def test_a_function_that_cannot_be_started_leaves_the_dump_to_the_next_request(
    large_shop: Shop, bucket: Bucket, expected: bytes
) -> None:
    def missing(dump_id: str) -> None:
        raise PlaceError(f"no function for {dump_id}")

    entry, place = dumplog(large_shop.now_ms), place_in(bucket)
    dumps = dumps_to(large_shop, place, HandOver(missing, limit_ms=100_000), timer=slow_clock())
    with pytest.raises(StoreUnavailableError):
        dumps.write(entry, "auditor", 1)
    assert len(bucket.uploads) == 1
    dumps_to(large_shop, place).write(entry, "auditor", 1)
    assert bucket.read("all/log.xml") == expected


def test_the_function_gets_the_dump_and_its_time_less_a_margin() -> None:
    class Noting:
        def go_on(self, dump_id: str, limit_ms: int) -> bool:
            asked.append((dump_id, limit_ms))
            return True

    asked: list[tuple[str, int]] = []
    assert go_on(Noting(), {"dump": "jane:7"}, 900_000) == {"dump": "jane:7", "done": True}
    go_on(Noting(), {"dump": "jane:7"}, 1_000)
    assert asked == [("jane:7", 900_000 - MARGIN_MS), ("jane:7", 0)]


def test_the_function_is_started_without_waiting_for_it(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers["X-Amz-Invocation-Type"], json.loads(body)))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{server.server_port}")
        starter("shop-dump")("jane:7")
        server.shutdown()
    assert seen == [("/2015-03-31/functions/shop-dump/invocations", "Event", {"dump": "jane:7"})]
    monkeypatch.delenv("AWS_ENDPOINT_URL_LAMBDA")
    with pytest.raises(PlaceError, match="missing-function"):
        starter("missing-function")("jane:7")


def test_dumplog_over_http_answers_with_a_link(
    mongo_uri: str, mongo_database: str, redis_url: str, bucket: Bucket, tmp_path: Path
) -> None:
    place = f"s3://{bucket.name}/logs"
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path, DUMP_PLACE=place) as api:
        api.post("/users/jane/add", {"amount": "1.00"}, X_Transaction_Num="1")
        reply = api.post("/users/jane/dumplog", {"filename": "./log"}, X_Transaction_Num="2", Idempotency_Key="k")
        assert reply.body["location"] == f"{place}/users/jane/log"
        events = read_log(downloaded(reply.body["url"]))
        assert transactions(events) == [1, 2]
        assert reply.body["events"] == len(events)
        again = api.post("/users/jane/dumplog", {"filename": "./log"}, Idempotency_Key="k")
        assert again.headers["idempotent-replayed"] == "true"
        assert downloaded(again.body["url"]) == downloaded(reply.body["url"])
        with Client(app) as client:
            done = client.lambda_.invoke("dump", {"dump": "jane:2"}).payload
        assert done == {"dump": "jane:2", "done": True}


def test_a_short_dump_needs_no_function(
    mongo_uri: str, mongo_database: str, redis_url: str, bucket: Bucket, tmp_path: Path
) -> None:
    settings = {"DUMP_PLACE": f"s3://{bucket.name}", "DUMP_FUNCTION": "missing", "DUMP_LIMIT_MS": "60000"}
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path, **settings) as api:
        api.post("/users/jane/add", {"amount": "1.00"})
        reply = api.post("/users/jane/dumplog", {"filename": "log"}, Idempotency_Key="k")
        assert (reply.status, reply.body["events"]) == (200, 3)


def test_files_below_the_folder_of_a_user_count_for_its_quota_and_no_others(shop: Shop, bucket: Bucket) -> None:
    dumps = dumps_to(shop, place_in(bucket, "/logs"))
    for number, (user, name) in enumerate([("janet", "a"), ("jane", "a"), ("jane", "a"), ("jan", "a")], 1):
        dumps.write(dumplog(shop.now_ms, user, name, of_all=False), user, number, BLOCK_BYTES)
    with pytest.raises(DumpQuotaError):
        dumps.write(dumplog(shop.now_ms, "jane", "b", of_all=False), "jane", 9, BLOCK_BYTES)
    assert bucket.keys == ["logs/users/jan/a", "logs/users/jane/a", "logs/users/janet/a"]
