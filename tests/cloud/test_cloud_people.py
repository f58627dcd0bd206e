"""People who sign in, in the cloud: what the functions are told of the pool, and who is made by the command."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest

from chalicelib.config.settings import SAMPLES, read_settings
from chalicelib.http.page import login_origins
from infra.cloud.artifact import Artifact
from tests.cloud.conftest import CREDENTIALS
from tests.cloud.expand import Made, expand
from tests.cloud.test_cloud_deploy import Deployer

PAGE = "https://api1.execute-api.us-east-1.amazonaws.com/api/"
GIVEN = {"LoginDomain": "traders", "PageAddress": PAGE}
FUNCTIONS = ("APIHandler", "Archive", "Dump", "Sweep")
ROLES = ("ApiHandlerRole", "ArchiveRole", "DumpRole", "SweepRole")


def references(value: Any) -> Iterator[str]:
    """Yield the names that a part of a template refers to, which are made first."""
    if isinstance(value, dict):
        for name, held in value.items():
            if name == "Ref":
                yield held
            elif name == "Fn::GetAtt":
                yield held[0] if isinstance(held, list) else held.partition(".")[0]
            elif name == "DependsOn":
                yield from [held] if isinstance(held, str) else held
            elif name == "Fn::Sub" and isinstance(text := held[0] if isinstance(held, list) else held, str):
                yield from (found.partition(".")[0] for found in re.findall(r"\$\{([^}!]+)\}", text))
            yield from references(held)
    elif isinstance(value, list):
        for held in value:
            yield from references(held)


@pytest.fixture(scope="module")
def template(artifact: Artifact) -> Any:
    """Return the packaged template; nobody changes it."""
    return json.loads(artifact.template.read_text())


@pytest.fixture(scope="module")
def made(template: Any) -> Made:
    """Return the stack with people."""
    return Made(expand(template, GIVEN), GIVEN, "day-trading-prod")


def test_the_functions_are_told_of_the_pool_in_settings_that_are_good(made: Made) -> None:
    told = json.loads(made.resources["LoginSettings"]["Properties"]["SecretString"])
    pool, client = "<day-trading-prod:LoginPool>", "<day-trading-prod:LoginClient>"
    known = {pool: "us-east-1_pool", client: "client", "<day-trading-prod:LoginPoolDomain>": "traders"}
    for reference, value in known.items():
        told = {name: text.replace(reference, value) for name, text in told.items()}
    found = read_settings({**SAMPLES, **told})
    assert found.auth_issuer == "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_pool"
    assert found.auth_jwks_url == f"{found.auth_issuer}/.well-known/jwks.json"
    assert (found.login_client_id, found.auth_audience, found.login_token) == ("client", "client", "id")
    assert login_origins(found) == [
        "https://cognito-idp.us-east-1.amazonaws.com",
        "https://traders.auth.us-east-1.amazoncognito.com",
    ]


def test_the_functions_read_those_settings_and_may(made: Made) -> None:
    secret = "<day-trading-prod:LoginSettings>"
    for properties in made.of_type("AWS::Lambda::Function").values():
        assert secret in properties["Environment"]["Variables"]["SECRET_IDS"].split(",")
    assert len(made.of_type("AWS::Lambda::Function")) == len(FUNCTIONS)
    for role in ROLES:
        assert secret in json.dumps(made.resources[role])


def test_the_settings_are_there_before_a_function_reads_them(template: Any) -> None:
    """Else the first requests to new code would fail, and the alarms of a roll-out undo it."""
    resources = expand(template, GIVEN)["Resources"]

    def needed(name: str) -> set[str]:
        direct = set(references(resources[name])) & set(resources)
        return direct.union(*map(needed, direct - {name}))

    assert {"LoginSettings", "LoginClient", "LoginPool", "LoginPoolDomain"} <= needed("APIHandlerAliaslive")


def test_the_page_is_where_people_come_back_to_and_nothing_else(made: Made) -> None:
    client = made.resources["LoginClient"]["Properties"]
    assert (client["CallbackURLs"], client["LogoutURLs"]) == ([PAGE], [PAGE])
    assert client["GenerateSecret"] is False


def test_everything_of_the_pool_is_there_with_the_option_only(template: Any, made: Made) -> None:
    of_the_pool = {name: found for name, found in made.resources.items() if name.startswith("Login")}
    assert len(of_the_pool) == 6
    assert made.resources["LoginPool"]["DeletionPolicy"] == "Retain"
    groups = {found["Properties"].get("GroupName") for found in of_the_pool.values()}
    assert groups - {None} == {"trader", "operator"}
    without = Made(expand(template, {}), {}, "day-trading-prod")
    assert "Login" not in json.dumps(without.resources)


@pytest.fixture
def deployer(aws: str, tmp_path: Path) -> Deployer:
    return Deployer(aws, tmp_path)


def deploy(deployer: Deployer, pool: str | None) -> None:
    """Deploy a stack that says it has a pool: the real template has kinds of resources that moto does not know."""
    outputs = {} if pool is None else {"LoginPoolId": {"Value": pool}}
    text = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}, "Outputs": outputs}
    deployer.template.write_text(json.dumps(text))
    done = deployer("deploy", "--yes")
    assert done.returncode == 0, done.stderr


def test_the_first_operator_is_made_by_one_command_and_said_again_it_changes_the_role(
    aws: str, deployer: Deployer
) -> None:
    people = boto3.client("cognito-idp", endpoint_url=aws, region_name="us-east-1", **CREDENTIALS)
    pool = people.create_user_pool(PoolName=deployer.name, UsernameAttributes=["email"])["UserPool"]["Id"]
    for role in ("trader", "operator"):
        people.create_group(GroupName=role, UserPoolId=pool)
    deploy(deployer, pool)
    done = deployer("invite", "ops@example.com", "--role=operator")
    assert done.returncode == 0, done.stderr
    (user,) = people.list_users(UserPoolId=pool)["Users"]
    told = {attribute["Name"]: attribute["Value"] for attribute in user["Attributes"]}
    assert told["email"] == "ops@example.com"
    assert done.stdout == f"ops@example.com is operator of {deployer.name}, with the account {told['sub']}\n"
    assert deployer("invite", "ops@example.com").returncode == 0
    groups = people.admin_list_groups_for_user(UserPoolId=pool, Username="ops@example.com")["Groups"]
    assert [group["GroupName"] for group in groups] == ["trader"], "an operator no longer"


def test_without_a_pool_the_command_says_what_to_do(deployer: Deployer) -> None:
    deploy(deployer, None)
    done = deployer("invite", "ops@example.com")
    says = f"{deployer.name} has no pool of people: deploy it with the parameter LoginDomain first\n"
    assert (done.returncode, done.stderr) == (1, says)
