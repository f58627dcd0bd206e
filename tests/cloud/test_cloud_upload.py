"""Artifacts on their way to AWS."""

import json
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest

from infra.cloud.artifact import CODE, Artifact
from infra.cloud.upload import upload
from tests.cloud.conftest import CREDENTIALS

ACCOUNT = "123456789012"
BUCKET = f"day-trading-artifacts-{ACCOUNT}-eu-west-3"


@pytest.fixture
def s3(aws: str) -> Any:
    """Return a client of the region in which the bucket is made."""
    return boto3.client("s3", endpoint_url=aws, region_name="eu-west-3", **CREDENTIALS)


def test_functions_find_their_code_where_it_was_sent_and_nothing_is_sent_twice(s3: Any, tmp_path: Path) -> None:
    template = {"Resources": {"A": {"Properties": {"CodeUri": f"./{CODE}"}}, "B": {"Properties": {"CodeUri": "x"}}}}
    (tmp_path / "sam.json").write_text(json.dumps(template))
    (tmp_path / CODE).write_bytes(b"code")
    artifact = Artifact(tmp_path / CODE, tmp_path / "sam.json")
    sent, url = upload(s3, ACCOUNT, "eu-west-3", artifact)
    place = sent["Resources"]["A"]["Properties"]["CodeUri"]
    assert sent["Resources"]["B"]["Properties"]["CodeUri"] == "x"
    key = place.removeprefix(f"s3://{BUCKET}/")
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"code"
    stored = s3.get_object(Bucket=BUCKET, Key=url.rpartition("/")[2])["Body"].read()
    assert json.loads(stored) == sent

    assert upload(s3, ACCOUNT, "eu-west-3", artifact) == (sent, url)
    versions = s3.list_object_versions(Bucket=BUCKET)["Versions"]
    assert len(versions) == 2

    (tmp_path / CODE).write_bytes(b"other code")
    other, _ = upload(s3, ACCOUNT, "eu-west-3", artifact)
    assert other["Resources"]["A"]["Properties"]["CodeUri"] != place
    assert len(s3.list_object_versions(Bucket=BUCKET)["Versions"]) == 4


def test_the_bucket_of_artifacts_is_private(s3: Any, tmp_path: Path) -> None:
    (tmp_path / "sam.json").write_text('{"Resources": {}}')
    upload(s3, ACCOUNT, "eu-west-3", Artifact(tmp_path / CODE, tmp_path / "sam.json"))
    blocked = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert set(blocked.values()) == {True}
    assert s3.get_bucket_location(Bucket=BUCKET)["LocationConstraint"] == "eu-west-3"


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-3", "af-south-1", "cn-north-1"])
def test_cloudformation_reads_the_template_from_the_region_of_the_bucket(aws: str, tmp_path: Path, region: str) -> None:
    """A host without a region is that of us-east-1, which sends others on, and does not know buckets of new regions."""
    (tmp_path / "sam.json").write_text('{"Resources": {}}')
    client = boto3.client("s3", endpoint_url=aws, region_name=region, **CREDENTIALS)
    _, url = upload(client, ACCOUNT, region, Artifact(tmp_path / CODE, tmp_path / "sam.json"))
    domain = "amazonaws.com.cn" if region == "cn-north-1" else "amazonaws.com"
    assert url.rpartition("/")[0] == f"https://day-trading-artifacts-{ACCOUNT}-{region}.s3.{region}.{domain}"


def test_every_call_says_whose_the_bucket_has_to_be(aws: str, tmp_path: Path) -> None:
    """But the one that makes it, which fails when somebody has it."""
    called: dict[str, Any] = {}

    def note(request: Any, event_name: str, **_more: Any) -> None:
        called[event_name.rpartition(".")[2]] = request.headers.get("x-amz-expected-bucket-owner")

    region = "eu-north-1"  # where nobody has made the bucket yet
    s3 = boto3.client("s3", endpoint_url=aws, region_name=region, **CREDENTIALS)
    s3.meta.events.register("before-send.s3", note)
    (tmp_path / "sam.json").write_text('{"Resources": {}}')
    (tmp_path / CODE).write_bytes(b"code")
    upload(s3, ACCOUNT, region, Artifact(tmp_path / CODE, tmp_path / "sam.json"))
    upload(s3, ACCOUNT, region, Artifact(tmp_path / CODE, tmp_path / "sam.json"))
    assert called.pop("CreateBucket") is None
    assert {"HeadBucket", "HeadObject", "PutObject", "PutPublicAccessBlock", "PutBucketVersioning"} == set(called)
    assert {str(owner, "ascii") if isinstance(owner, bytes) else owner for owner in called.values()} == {ACCOUNT}
