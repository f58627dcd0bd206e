"""Compressed answers: who gets them, and that they say what they are."""

import gzip
import json
from pathlib import Path

import pytest

from infra.servers.compression import LEAST_BYTES, MOST_BYTES, accepts_gzip, compressed
from infra.servers.gateway.problems import HttpAnswer

JSON = ("Content-Type", "application/json")
TEXT = b"the same again and again " * 100


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("gzip, deflate, br", True),
        ("GZIP;q=0.5", True),
        ("*", True),
        ("", False),
        ("br", False),
        ("gzip;q=0, *", False),
        ("gzip; q=0.0", False),
        ("gzip;q=x", False),
        ("gzip;q=\u00b2", False),
    ],
)
def test_gzip_is_for_clients_that_take_it(header: str, taken: bool) -> None:
    assert accepts_gzip(header) == taken


def test_a_compressed_answer_says_so_and_unpacks_to_the_same() -> None:
    status, headers, body = compressed("gzip", HttpAnswer(200, [JSON, ("ETag", '"17"')], TEXT))
    assert (status, gzip.decompress(body), len(body) < len(TEXT) / 4) == (200, TEXT, True)
    assert headers == [JSON, ("ETag", 'W/"17"'), ("Vary", "Accept-Encoding"), ("Content-Encoding", "gzip")]


def test_a_cache_in_between_learns_that_answers_differ_also_from_one_that_is_not_compressed() -> None:
    answer = compressed("", HttpAnswer(200, [JSON, ("ETag", '"17"')], TEXT))
    assert answer == HttpAnswer(200, [JSON, ("ETag", '"17"'), ("Vary", "Accept-Encoding")], TEXT)


@pytest.mark.parametrize(
    "answer",
    [
        HttpAnswer(200, [JSON], b"x" * (LEAST_BYTES - 1)),
        HttpAnswer(200, [JSON], b"x" * (MOST_BYTES + 1)),
        HttpAnswer(200, [("Content-Type", "image/png")], TEXT),
        HttpAnswer(200, [JSON, ("Content-Encoding", "br")], TEXT),
        HttpAnswer(304, [("ETag", '"17"')], b""),
    ],
    ids=["short", "long", "image", "compressed already", "none"],
)
def test_what_gains_nothing_stays_as_it_is(answer: HttpAnswer) -> None:
    assert compressed("gzip", answer) is answer


def test_an_asset_is_compressed_once() -> None:
    asset = HttpAnswer(200, [("Content-Type", "text/css"), ("Cache-Control", "public, immutable")], TEXT)
    assert compressed("gzip", asset).body is compressed("gzip", asset).body


def test_the_cloud_compresses_from_the_same_size_on() -> None:
    config = json.loads((Path(__file__).parents[2] / ".chalice" / "config.json").read_text())
    assert config["stages"]["prod"]["minimum_compression_size"] == LEAST_BYTES
