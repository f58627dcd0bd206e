"""Users of the stack's Cognito pool: created by e-mail address, with a role; Cognito sends the first password."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from infra.cloud.stack import StackError

ROLES = ("operator", "trader")
OUTPUT = "LoginPoolId"


class NoPoolError(StackError):
    """The stack has no user pool."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} has no pool of people: deploy it with the parameter LoginDomain first")


def pool_of(stack: Mapping[str, Any] | None, name: str) -> str:
    """Return the id of a stack's user pool, from CloudFormation's description of the stack; raises NoPoolError."""
    outputs = {found["OutputKey"]: found["OutputValue"] for found in (stack or {}).get("Outputs", ())}
    if OUTPUT not in outputs:
        raise NoPoolError(name)
    return str(outputs[OUTPUT])


def invite(client: Any, pool: str, email: str, role: str) -> str:
    """Create a user, or take the existing one, and set its only role; return the user id of its account."""
    try:
        attributes = [{"Name": "email", "Value": email}, {"Name": "email_verified", "Value": "true"}]
        client.admin_create_user(
            UserPoolId=pool, Username=email, UserAttributes=attributes, DesiredDeliveryMediums=["EMAIL"]
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "UsernameExistsException":
            raise
    person = {"UserPoolId": pool, "Username": email}
    client.admin_add_user_to_group(**person, GroupName=role)
    for group in client.admin_list_groups_for_user(**person)["Groups"]:
        if group["GroupName"] in set(ROLES) - {role}:
            client.admin_remove_user_from_group(**person, GroupName=group["GroupName"])
    found = client.admin_get_user(**person)["UserAttributes"]
    return next(str(attribute["Value"]) for attribute in found if attribute["Name"] == "sub")
