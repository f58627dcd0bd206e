"""The bucket that artifacts go through on their way to CloudFormation and Lambda."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from infra.cloud.artifact import CODE, Artifact

_PRIVATE = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")


def upload(client: Any, bucket: str, region: str, artifact: Artifact) -> tuple[Mapping[str, Any], str]:
    """Send an artifact; return its template, with the code's new place in it, and the template's address.

    Names are made from content: what is there already is not sent again, and the code of an older stack stays for a
    way back.
    """
    _make(client, bucket, region)
    template: dict[str, Any] = json.loads(artifact.template.read_text())
    if artifact.code.exists():
        place = f"s3://{bucket}/{_send(client, bucket, artifact.code.read_bytes(), 'zip')}"
        for resource in template["Resources"].values():
            if resource.get("Properties", {}).get("CodeUri") == f"./{CODE}":
                resource["Properties"]["CodeUri"] = place
    key = _send(client, bucket, json.dumps(template, indent=1, sort_keys=True).encode(), "json")
    return template, f"{_address(client, bucket)}/{key}"


def _address(client: Any, bucket: str) -> str:
    signed: str = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "x"})
    return signed.partition("?")[0].removesuffix("/x")


def _send(client: Any, bucket: str, content: bytes, kind: str) -> str:
    key = f"{hashlib.sha256(content).hexdigest()}.{kind}"
    try:
        client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchKey", "NotFound"}:
            raise
        client.put_object(Bucket=bucket, Key=key, Body=content)
    return key


def _make(client: Any, bucket: str, region: str) -> None:
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchBucket", "NotFound"}:
            raise
    else:
        return
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    client.create_bucket(Bucket=bucket, **where)
    client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(_PRIVATE, True))
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
