"""Places: what the setting takes, and what a folder needs."""

import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from chalicelib.audit.folder import UNFINISHED, Folder
from chalicelib.audit.places import BLOCK_BYTES
from chalicelib.config.settings import SettingError, read_settings
from chalicelib.runtime import make_place
from infra.local.stack import PROJECT

GOOD = {
    "MONGO_URI": "mongodb://127.0.0.1:27017/?replicaSet=rs",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "QUOTE_SOURCE": "fixed:10.00",
    "AUTH_SECRET": "0123456789abcdef0123456789abcdef",
}


@pytest.mark.parametrize("place", ["logs", "/var/logs", "./a b", "s3://logs", "s3://my.logs-1/", "s3://logs/a/b"])
def test_a_place_is_a_folder_or_a_bucket(place: str) -> None:
    assert read_settings({**GOOD, "DUMP_PLACE": place}).dump_place == place


@pytest.mark.parametrize("place", ["", " ", "s3://", "s3:/logs", "s3://Logs", "s3://a", "s3://logs//a", "http://x/y"])
def test_anything_else_is_refused(place: str) -> None:
    with pytest.raises(SettingError, match="DUMP_PLACE"):
        read_settings({**GOOD, "DUMP_PLACE": place})


@pytest.mark.parametrize(
    ("setting", "location"),
    [
        ("s3://logs", "s3://logs/all/x"),
        ("s3://logs/", "s3://logs/all/x"),
        ("s3://logs/a/b/", "s3://logs/a/b/all/x"),
        ("/var/logs", "/var/logs/all/x"),
    ],
)
def test_a_location_says_where_a_log_is(setting: str, location: str) -> None:
    assert make_place(setting, 60).location("all/x") == location


@pytest.mark.parametrize("owner", ["", "12345678901", "1234567890123", "12345678901x"])
def test_the_owner_of_a_bucket_is_an_account(owner: str) -> None:
    given = {**GOOD, "DUMP_PLACE": "s3://logs"}
    assert read_settings(given).dump_bucket_owner is None
    assert read_settings({**given, "DUMP_BUCKET_OWNER": "123456789012"}).dump_bucket_owner == "123456789012"
    with pytest.raises(SettingError, match=r"DUMP_BUCKET_OWNER: got .* the 12 digits of an AWS account"):
        read_settings({**given, "DUMP_BUCKET_OWNER": owner})


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-3", "af-south-1"])
def test_a_link_leads_to_the_region_of_its_bucket(region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host without a region is that of us-east-1: it sends others on, or does not know their buckets yet."""
    given = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": region}
    for name, value in {**given, "AWS_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    link = urlsplit(make_place("s3://logs/a", 60, "123456789012").link("all/x") or "")
    hosts = {"us-east-1": "logs.s3.amazonaws.com"}
    assert (link.scheme, link.netloc, link.path) == (
        "https",
        hosts.get(region, f"logs.s3.{region}.amazonaws.com"),
        "/a/all/x",
    )
    assert parse_qs(link.query)["X-Amz-SignedHeaders"] == ["host"], "what a browser sends"


def test_a_link_leads_to_another_s3_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**given, "AWS_CONFIG_FILE": os.devnull, "AWS_ENDPOINT_URL": "http://minio:9000"}.items():
        monkeypatch.setenv(name, value)
    assert (make_place("s3://logs", 60).link("all/x") or "").startswith("http://minio:9000/logs/all/x?")


def test_nobody_waits_for_boto3_but_who_writes_to_s3() -> None:
    """It takes longer to load than all the rest; a bucket is named here, and nothing is written."""
    code = (
        "import sys, chalicelib.runtime; from chalicelib.runtime import make_place;"
        "make_place('s3://logs', 60).location('x');"
        "sys.exit(any(name in sys.modules for name in ('boto3', 'botocore', 'lxml')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False, timeout=60).returncode == 0


def aged(path: Path, seconds: float = 60) -> Path:
    """Return a file, made if it is not there, last written to some seconds ago."""
    path.touch()
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def test_what_a_killed_writer_left_is_removed_by_the_next_in_its_folder_and_what_is_being_written_is_not(
    tmp_path: Path,
) -> None:
    code = "import sys; from chalicelib.audit.folder import *; w = Folder(Path(sys.argv[1])).writer('jane/a')"
    place, unfinished = Folder(tmp_path), tmp_path / UNFINISHED / "jane"
    command = [sys.executable, "-c", f"{code}; print(flush=True); sys.stdin.read()", str(tmp_path)]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (written,) = map(aged, unfinished.iterdir())
        place.writer("jane/b").abort()
        assert list(unfinished.iterdir()) == [written]
        assert place.size("jane", without="jane/b") == BLOCK_BYTES, "it counts while it grows"
        process.kill()
    fresh = aged(unfinished / "0.c", 1)
    writer = place.writer("jane/b")
    assert not written.exists()
    assert fresh.exists(), "who made it may not have locked it yet"
    assert place.size("jane", without="jane/b") == BLOCK_BYTES
    writer.add(b"new")
    assert list((tmp_path / "jane").iterdir()) == [], "nothing is seen before it is whole"
    writer.finish()
    writer.abort()
    assert (tmp_path / "jane" / "b").read_bytes() == b"new"


@pytest.mark.parametrize("name", [".b.x.part", "0123456789abcdef.b"])
def test_no_name_of_a_log_is_that_of_an_unfinished_one(tmp_path: Path, name: str) -> None:
    place = Folder(tmp_path)
    place.writer(f"jane/{name}").finish()
    aged(tmp_path / "jane" / name, 10**6)
    place.writer("jane/b").finish()
    assert (tmp_path / "jane" / name).exists()
    assert place.size("jane", without="jane/b") == BLOCK_BYTES
