"""Settings from Secrets Manager: read once a start, and never seen elsewhere."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from botocore.auth import SigV4Auth  # type: ignore[import-untyped]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.credentials import Credentials  # type: ignore[import-untyped]

from chalicelib.config.secrets_manager import sign
from chalicelib.config.settings import SettingError, with_secrets
from infra.cloud.aws_server import AWS
from infra.cloud.containers import containers
from tests.cloud.conftest import CREDENTIALS

MakeSecret = Callable[[str], str]


@pytest.fixture
def make_secret(aws: str) -> MakeSecret:
    """Return what makes a secret with some content, and returns its name."""
    client = boto3.client("secretsmanager", endpoint_url=aws, region_name="us-east-1", **CREDENTIALS)

    def make(content: str) -> str:
        name = f"day-trading/{uuid.uuid4().hex}"
        client.create_secret(Name=name, SecretString=content)
        return name

    return make


def environment(aws: str, **more: str) -> dict[str, str]:
    return {**AWS, "AWS_ENDPOINT_URL": aws, **more}


@pytest.mark.parametrize("token", [None, "a+session/token=="])
def test_a_request_is_signed_as_the_sdk_signs_it(token: str | None) -> None:
    url, body = "https://secretsmanager.eu-west-3.amazonaws.com/", b'{"SecretId": "day-trading/prod"}'
    request = AWSRequest("POST", url, data=body)
    request.headers["Content-Type"] = "application/x-amz-json-1.1"
    request.headers["X-Amz-Target"] = "secretsmanager.GetSecretValue"
    SigV4Auth(Credentials("AKIDEXAMPLE", "a secret/key+", token), "secretsmanager", "eu-west-3").add_auth(request)
    now = datetime.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    env = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "a secret/key+"}
    env |= {"AWS_SESSION_TOKEN": token} if token else {}
    assert sign(url, body, env, "eu-west-3", now)["authorization"] == request.headers["Authorization"]


def test_secrets_go_before_the_environment_and_later_ones_before_earlier_ones(
    aws: str, make_secret: MakeSecret
) -> None:
    first = make_secret(json.dumps({"MONGO_URI": "mongodb://one", "AUTH_SECRET": "one"}))
    second = make_secret(json.dumps({"AUTH_SECRET": "two"}))
    given = environment(aws, SECRET_IDS=f"{first}, {second}", MONGO_URI="mongodb://zero", REDIS_URL="redis://zero")
    found = with_secrets(given)
    assert (found["MONGO_URI"], found["AUTH_SECRET"], found["REDIS_URL"]) == ("mongodb://one", "two", "redis://zero")


def test_without_names_nothing_is_asked() -> None:
    assert with_secrets({"MONGO_URI": "mongodb://zero"}) == {"MONGO_URI": "mongodb://zero"}


def test_a_secret_that_is_missing_is_named_with_the_reason(aws: str) -> None:
    with pytest.raises(SettingError, match=r"SECRET_IDS: got 'no-such'.*ResourceNotFoundException"):
        with_secrets(environment(aws, SECRET_IDS="no-such"))


@pytest.mark.parametrize("content", ["mongodb://user:hidden@host", '["hidden"]', '{"MONGO_URI": {"hidden": 1}}'])
def test_a_secret_of_another_form_is_refused_and_not_shown(aws: str, make_secret: MakeSecret, content: str) -> None:
    with pytest.raises(SettingError, match="not a JSON object") as refused:
        with_secrets(environment(aws, SECRET_IDS=make_secret(content)))
    assert "hidden" not in str(refused.value)


def test_secrets_manager_away_is_said_within_the_tries(unused_url: str) -> None:
    with pytest.raises(SettingError, match="refused"):
        with_secrets(environment(unused_url, SECRET_IDS="day-trading/prod"))


def test_no_credentials_are_said() -> None:
    with pytest.raises(SettingError, match="AWS_SECRET_ACCESS_KEY is not set"):
        with_secrets({"AWS_REGION": "us-east-1", "SECRET_IDS": "day-trading/prod"})


@pytest.fixture
def unused_url() -> str:
    """Return an address where nobody listens: port 9 is for what is thrown away."""
    return "http://127.0.0.1:9"


def test_a_container_reads_its_secrets_once(
    code: Path, on_board: Path, function_environment: dict[str, str], tmp_path: Path, aws: str, make_secret: MakeSecret
) -> None:
    """What was deleted after the start is still known: nothing but a start asks for it."""
    secret = make_secret(json.dumps({name: function_environment.pop(name) for name in ("MONGO_URI", "AUTH_SECRET")}))
    function_environment["SECRET_IDS"] = secret
    health: dict[str, Any] = {
        "resource": "/health",
        "path": "/health",
        "httpMethod": "GET",
        "headers": {},
        "multiValueHeaders": {},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"resourcePath": "/health", "httpMethod": "GET"},
        "body": None,
        "isBase64Encoded": False,
    }
    with containers("app.app", 1, code, on_board, function_environment, tmp_path) as api:
        assert json.loads(api.invoke(health)["body"]) == {"status": "ok"}
        client = boto3.client("secretsmanager", endpoint_url=aws, region_name="us-east-1", **CREDENTIALS)
        client.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
        assert json.loads(api.invoke(health)["body"]) == {"status": "ok"}
