"""What is wrong with settings of boto3, files of credentials, networks and templates ends in a sentence."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from infra.cloud.aws_server import AWS
from infra.local.stack import PROJECT
from tests.cloud.test_cloud_smoke import serving

Run = Callable[..., "subprocess.CompletedProcess[str]"]
NO_KEYS = {name: value for name, value in AWS.items() if "KEY" not in name}


@pytest.fixture
def run(aws: str, tmp_path: Path) -> Run:
    """Return what runs `python -m infra.cloud` with an environment and nothing else."""

    def call(environment: Mapping[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "infra.cloud", *(arguments or ("destroy", "--stage=x", "--yes"))]
        given = {"AWS_ENDPOINT_URL": aws, "AWS_MAX_ATTEMPTS": "1", "HOME": str(tmp_path), **environment}
        return subprocess.run(command, cwd=PROJECT, env=given, capture_output=True, text=True, check=False)

    return call


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ENDPOINT_URL", "foo"),
        ("AWS_MAX_ATTEMPTS", "often"),
        ("AWS_RETRY_MODE", "never"),
        ("AWS_DEFAULTS_MODE", "whatever"),
        ("HTTP_PROXY", ":bad:"),
        ("AWS_ACCESS_KEY_ID", "two\nlines"),
    ],
)
def test_a_wrong_setting_of_boto3_ends_in_a_sentence(run: Run, name: str, value: str) -> None:
    done = run({**AWS, name: value})
    assert done.returncode in {1, 2}
    assert value.replace("\n", "\\n") in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[default\nx", "Unable to parse config file"),
        ("[default]\ncredential_process = /nowhere/to/be/found\n", "/nowhere/to/be/found"),
        ("[default]\ncredential_process = /bin/false\n", "credentials from custom-process"),
        ("[default]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = nobody\n", '"nobody"'),
        ("[default]\nrole_arn = arn:aws:iam::1:role/x\nweb_identity_token_file = /no/token\n", "/no/token"),
        ("[default]\nsso_start_url = x\nsso_region = x\nsso_account_id = 1\nsso_role_name = x\n", "SSO Token"),
    ],
)
def test_credentials_that_are_not_to_be_had_end_in_a_sentence(
    run: Run, tmp_path: Path, content: str, said: str
) -> None:
    file = tmp_path / "config"
    file.write_text(content)
    done = run({**NO_KEYS, "AWS_CONFIG_FILE": str(file)})
    assert done.returncode in {1, 2}
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_authorities_that_are_not_there_are_no_question_of_credentials(run: Run, aws: str) -> None:
    done = run({**AWS, "AWS_ENDPOINT_URL": aws.replace("http:", "https:"), "AWS_CA_BUNDLE": "/no/authorities"})
    assert done.returncode == 1
    assert done.stderr.startswith("SSL validation failed")


def test_an_answer_that_is_none_of_aws_ends_in_a_sentence(run: Run) -> None:
    """Such as that of a proxy on the way."""
    with serving(lambda *_asked: (500, b"<!doctype html><h1>Blocked")) as url:
        done = run({**AWS, "AWS_ENDPOINT_URL": url})
    assert done.returncode == 1
    assert "Unable to parse response" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1]", "not a template of CloudFormation: it has no Resources"),
        ('{"Parameters": {}}', "not a template of CloudFormation: it has no Resources"),
        ("{", "Expecting property name"),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_no_template_is_named(run: Run, tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "template.json"
    if content is not None:
        file.write_text(content)
    done = run(AWS, "deploy", "--yes", f"--template={file}")
    assert (done.returncode, done.stderr.startswith(f"{file}: ")) == (2, True)
    assert said in done.stderr


@pytest.mark.parametrize("stage", ["a/b", "x" * 45, "", "prod_1"])
def test_a_stage_that_no_function_could_be_called_after_is_refused(run: Run, stage: str) -> None:
    done = run(AWS, "diff", f"--stage={stage}")
    assert done.returncode == 2
    assert "takes letters, digits and hyphens, 44 at most" in done.stderr
