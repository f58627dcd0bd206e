"""The bucket through which artifacts get to CloudFormation and Lambda."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from infra.cloud.artifact import CODE, Artifact

Owned = Mapping[str, str]
"""A bucket's name and the account it must belong to: anybody may have created one with that name."""

_PRIVATE = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")


def upload(client: Any, account: str, region: str, artifact: Artifact) -> tuple[Mapping[str, Any], str]:
    """Upload an artifact; return its template, with the code's new location, and the template's URL.

    Raises OSError and ValueError for a file that is not a template.

    Names are content hashes: existing objects are not uploaded again, and the code of an older stack stays for a
    rollback.
    """
    template: dict[str, Any] = json.loads(artifact.template.read_text())
    if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict):
        raise ValueError("not a template of CloudFormation: it has no Resources")  # noqa: TRY004  # the content is wrong
    owned = _owned(account, region)
    _make(client, owned, region)
    if artifact.code.exists():
        place = f"s3://{owned['Bucket']}/{_send(client, owned, artifact.code.read_bytes(), 'zip')}"
        for resource in template["Resources"].values():
            if resource.get("Properties", {}).get("CodeUri") == f"./{CODE}":
                resource["Properties"]["CodeUri"] = place
    key = _send(client, owned, json.dumps(template, indent=1, sort_keys=True).encode(), "json")
    return template, _address(account, region, key)


def _owned(account: str, region: str) -> Owned:
    return {"Bucket": f"day-trading-artifacts-{account}-{region}", "ExpectedBucketOwner": account}


def _address(account: str, region: str, key: str) -> str:
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{_owned(account, region)['Bucket']}.s3.{region}.{domain}/{key}"


def note_deployed(client: Any, account: str, region: str, stack: str, url: str) -> None:
    """Record the URL of a stack's current template, and keep that of the previous one."""
    key = url.rpartition("/")[2]
    known = _deployed(client, account, region, stack)
    if key != known.get("now"):
        body = json.dumps({"now": key, "before": known.get("now")}).encode()
        client.put_object(**_owned(account, region), Key=f"stacks/{stack}.json", Body=body)


def earlier(client: Any, account: str, region: str, stack: str) -> tuple[Mapping[str, Any], str] | None:
    """Return a stack's previous template and its URL, or None if it is not known."""
    key = _deployed(client, account, region, stack).get("before")
    if key is None:
        return None
    text = client.get_object(**_owned(account, region), Key=key)["Body"].read()
    return json.loads(text), _address(account, region, key)


def _deployed(client: Any, account: str, region: str, stack: str) -> Mapping[str, str | None]:
    try:
        found = client.get_object(**_owned(account, region), Key=f"stacks/{stack}.json")
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"NoSuchKey", "NoSuchBucket"}:
            raise
        return {}
    known: Mapping[str, str | None] = json.loads(found["Body"].read())
    return known


def _send(client: Any, owned: Owned, content: bytes, kind: str) -> str:
    key = f"{hashlib.sha256(content).hexdigest()}.{kind}"
    try:
        client.head_object(**owned, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchKey", "NotFound"}:
            raise
        client.put_object(**owned, Key=key, Body=content)
    return key


def _make(client: Any, owned: Owned, region: str) -> None:
    try:
        client.head_bucket(**owned)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchBucket", "NotFound"}:
            raise
    else:
        return
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    client.create_bucket(Bucket=owned["Bucket"], **where)  # fails when it is another's
    client.put_public_access_block(**owned, PublicAccessBlockConfiguration=dict.fromkeys(_PRIVATE, True))
    client.put_bucket_versioning(**owned, VersioningConfiguration={"Status": "Enabled"})
