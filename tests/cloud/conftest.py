"""The artifact as deployed, unzipped, with the packages of Lambda's runtime, real servers and moto instead of AWS."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import pytest

from infra.cloud.artifact import Artifact, LambdaTarget, package
from infra.cloud.aws_server import AWS, aws_server
from infra.cloud.containers import put_on_board

BUCKET = "dumps"
SECRET = "a secret for tests, of 32 bytes or more"
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Return the artifact for this Python and this machine, packaged from the current sources."""
    return package(tmp_path_factory.mktemp("artifact"), "prod", target=LambdaTarget.here())


@pytest.fixture(scope="session")
def code(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the artifact was unzipped into."""
    folder = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(artifact.code) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def on_board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the packages of Lambda's runtime: the SDK and the client of the Runtime API, only."""
    return put_on_board(tmp_path_factory.mktemp("on_board"))


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server that stands in for AWS, with a bucket for dumps."""
    server = str(Path(__file__).with_name("moto_server.py"))
    with aws_server(tmp_path_factory.mktemp("aws"), [server]) as url:
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **CREDENTIALS)
        client.create_bucket(Bucket=BUCKET)
        client.close()
        yield url


@pytest.fixture
def function_environment(mongo_uri: str, mongo_database: str, redis_url: str, aws: str) -> dict[str, str]:
    """Return the environment of a function: the variables that the template sets, and Lambda's own."""
    return {
        **AWS,
        "PATH": os.environ["PATH"],
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": aws,
        "AWS_LAMBDA_FUNCTION_NAME": "day-trading-prod",
        "MONGO_URI": mongo_uri,
        "MONGO_DATABASE": mongo_database,
        "MONGO_POOL_SIZE": "8",
        "REDIS_URL": redis_url,
        "QUOTE_SOURCE": "fixed:10.00",
        "AUTH_SECRET": SECRET,
        "DUMP_PLACE": f"s3://{BUCKET}/{mongo_database}",
    }
