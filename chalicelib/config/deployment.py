"""Whether what `chalice deploy` is about to deploy would work: its settings, secrets, bucket and role.

The checks use the deployer's credentials, wherever boto3 finds them.
"""

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from chalicelib.config.settings import SettingError, read_settings

_S3 = "s3://"


def check_deployment(folder: Path, stage: str, profile: str | None = None) -> None:
    """Raise SettingError unless a stage's functions would have what they need, whatever this process has.

    `folder` is `.chalice`; `profile` is the boto3 profile that Chalice deploys with.
    """
    configuration = json.loads((folder / "config.json").read_text())
    its_own = configuration["stages"].get(stage, {})
    given = {**configuration.get("environment_variables", {}), **its_own.get("environment_variables", {})}
    role = FunctionRole.read(folder, {**configuration, **its_own})
    names = list(filter(None, map(str.strip, given.get("SECRET_IDS", "").split(","))))
    try:
        session = boto3.Session(profile_name=profile)
        for name in names:
            given |= _secret(session, role, name)
    except (BotoCoreError, ValueError, OSError) as error:  # boto3's errors for its own settings and files
        raise SettingError("SECRET_IDS", ",".join(names), f"names of secrets that can be read ({error})") from None
    place = read_settings(given).dump_place
    if not place.startswith(_S3):
        raise SettingError("DUMP_PLACE", place, "s3://bucket/prefix: a folder in Lambda does not last")
    _check_bucket(session, role, place, given.get("DUMP_BUCKET_OWNER"))


class FunctionRole:
    """What the functions may do, by the policy that Chalice gives their role; anything, if Chalice generates it."""

    def __init__(self, statements: list[Any] | None) -> None:
        self._statements = statements

    @classmethod
    def read(cls, folder: Path, configuration: Mapping[str, Any]) -> "FunctionRole":
        """Return the role of a stage's functions."""
        file = configuration.get("iam_policy_file")
        return cls(None if file is None else json.loads((folder / file).read_text())["Statement"])

    def may(self, action: str, resource: str) -> bool:
        """Return whether it allows an action on a resource (ARN)."""
        if self._statements is None:
            return True
        return any(
            _matches(statement["Action"], action) and _matches(statement["Resource"], resource)
            for statement in self._statements
            if statement["Effect"] == "Allow"
        )


def _matches(patterns: str | list[str], name: str) -> bool:
    return any(fnmatchcase(name, one) for one in ([patterns] if isinstance(patterns, str) else patterns))


def _secret(session: Any, role: FunctionRole, name: str) -> dict[str, str]:
    """Return the contents of a secret."""
    try:
        answer = session.client("secretsmanager").get_secret_value(SecretId=name)
        held = dict(json.loads(answer["SecretString"]))
    except (KeyError, TypeError, ValueError):
        reason = "it is not a JSON object"
    except ClientError as error:
        reason = str(error)
    else:
        if role.may("secretsmanager:GetSecretValue", answer["ARN"]):
            return {str(key): str(value) for key, value in held.items()}
        reason = "the functions' role may not read it: see iam_policy_file"
    takes = f"names or ARNs of secrets of AWS, with commas between, that can be read ({reason})"
    raise SettingError("SECRET_IDS", name, takes)


def _check_bucket(session: Any, role: FunctionRole, place: str, owner: str | None) -> None:
    """Check that a bucket exists, belongs to the owner, is in the region, and that the functions may write to it."""
    bucket = place.removeprefix(_S3).partition("/")[0]
    try:
        owner = owner or session.client("sts").get_caller_identity()["Account"]
        found = session.client("s3").head_bucket(Bucket=bucket, ExpectedBucketOwner=owner)["BucketRegion"]
    except ClientError as error:
        reasons = {
            "404": "there is none of that name",
            "403": f"it is not of account {owner} (DUMP_BUCKET_OWNER), or you may not look at it",
        }
        reason = reasons.get(error.response["Error"]["Code"], str(error))
    except BotoCoreError as error:
        reason = str(error)
    else:
        if found != session.region_name:
            reason = f"it is in {found}, the functions will be in {session.region_name}"
        elif not role.may("s3:PutObject", f"arn:aws:s3:::{bucket}/all/log.xml"):
            reason = "the functions' role may not write to it: see iam_policy_file"
        else:
            return
    raise SettingError("DUMP_PLACE", place, f"s3://bucket/prefix of a bucket that the functions can use ({reason})")
