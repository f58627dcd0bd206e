"""Security checks of the packaged template; explained.yaml says why a finding is left as it is.

The checks follow those of checkov and cfn-nag that concern the kinds of resources used here (docs/decisions/0032). A
finding is named `CHECK resource`, by which it is explained; an explanation without a finding is an error too.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

EXPLAINED = Path(__file__).with_name("explained.yaml")
Template = Mapping[str, Any]
Properties = Mapping[str, Any]
Check = Callable[[Properties], Iterator[str]]

_SECRET_NAME = re.compile(r"SECRET(?!_IDS)|PASSWORD|TOKEN|_URI|CREDENTIAL|API_KEY")
_ANYWHERE = {"0.0.0.0/0", "::/0"}


def remarks(template: Template) -> set[str]:
    """Return the findings."""
    found = {f"secret-parameter {name}" for name in _open_secret_parameters(template)}
    for name, resource in template["Resources"].items():
        properties = _with_all_parts(resource.get("Properties", {}))
        for check in _CHECKS.get(resource["Type"], ()):
            found |= {f"{remark} {name}" for remark in check(properties)}
        if resource["Type"] in _KEPT and resource.get("DeletionPolicy") not in {"Retain", "Snapshot"}:
            found.add(f"deleted-with-the-stack {name}")
    policies = {_target(found["Properties"]["Bucket"]) for found in _of_type(template, "AWS::S3::BucketPolicy")}
    buckets = {name for name, found in template["Resources"].items() if found["Type"] == "AWS::S3::Bucket"}
    return found | {f"bucket-without-tls {name}" for name in buckets - policies}


def _with_all_parts(value: Any) -> Any:
    """Return a value as if its conditions held: with the network, the traces, the cache."""
    if isinstance(value, list):
        return [_with_all_parts(part) for part in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Fn::If"}:
        return _with_all_parts(value["Fn::If"][1])
    return {name: _with_all_parts(part) for name, part in value.items()}


def explanations() -> dict[str, str]:
    """Return the explained findings, with their explanations."""
    written = yaml.safe_load(EXPLAINED.read_text())
    return {f"{check} {name}": said["why"] for check, said in written.items() for name in said["resources"]}


def _of_type(template: Template, kind: str) -> list[Any]:
    return [resource for resource in template["Resources"].values() if resource["Type"] == kind]


def _target(reference: Any) -> str:
    return str(reference.get("Ref")) if isinstance(reference, dict) else str(reference)


def _open_secret_parameters(template: Template) -> Iterator[str]:
    for name, parameter in template.get("Parameters", {}).items():
        if re.search(r"Password|Token|Uri$|ApiKey", name) and not parameter.get("NoEcho"):
            yield name


def _function(properties: Properties) -> Iterator[str]:
    if "VpcConfig" not in properties:
        yield "function-outside-the-network"
    if properties.get("Tracing") != "Active":
        yield "function-without-tracing"
    if "ReservedConcurrentExecutions" not in properties:
        yield "function-without-a-limit"
    if "DeadLetterQueue" not in properties:
        yield "function-without-a-dead-letter-queue"
    variables = properties.get("Environment", {}).get("Variables", {})
    for name in sorted(filter(_SECRET_NAME.search, variables)):
        yield f"secret-in-the-environment:{name}"


def _role(properties: Properties) -> Iterator[str]:
    if properties.get("ManagedPolicyArns"):
        yield "role-with-a-managed-policy"
    for policy in properties.get("Policies", ()):
        for statement in policy["PolicyDocument"]["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            if any("*" in action for action in actions):
                yield "role-with-any-action"
            resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
            for resource in resources:
                if resource == "*" or re.search(r":\*:\*|^arn:\*", json.dumps(resource)):
                    yield f"role-for-any-resource:{actions[0].partition(':')[0]}"


def _api(properties: Properties) -> Iterator[str]:
    document = properties["DefinitionBody"]
    if "securityDefinitions" not in document:
        yield "api-without-an-authorizer"
    settings = properties.get("MethodSettings", [{}])[0]
    if "ThrottlingRateLimit" not in settings:
        yield "api-without-throttling"
    if "AccessLogSetting" not in properties:
        yield "api-without-access-log"
    if not properties.get("TracingEnabled"):
        yield "api-without-tracing"
    yield "api-without-a-firewall"  # a web ACL would be a separate resource; there is none here


def _bucket(properties: Properties) -> Iterator[str]:
    rules = properties.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration", [])
    kinds = {rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] for rule in rules}
    if not kinds:
        yield "bucket-not-encrypted"
    elif kinds != {"aws:kms"}:
        yield "bucket-without-a-key-of-its-own"
    blocked = properties.get("PublicAccessBlockConfiguration", {})
    if len(blocked) != 4 or not all(value is True for value in blocked.values()):
        yield "bucket-not-private"
    if properties.get("VersioningConfiguration", {}).get("Status") != "Enabled":
        yield "bucket-without-versions"
    if "LoggingConfiguration" not in properties:
        yield "bucket-without-access-log"
    if "LifecycleConfiguration" not in properties:
        yield "bucket-without-lifecycle"


def _group(properties: Properties) -> Iterator[str]:
    for rule in properties.get("SecurityGroupIngress", ()):
        if _ANYWHERE & {rule.get("CidrIp"), rule.get("CidrIpv6")}:
            yield f"group-open-to-everyone:{rule.get('FromPort')}"
    if "SecurityGroupEgress" not in properties:
        yield "group-that-may-go-anywhere"
    for rule in properties.get("SecurityGroupEgress", ()):
        if _ANYWHERE & {rule.get("CidrIp"), rule.get("CidrIpv6")}:
            port = rule.get("FromPort")
            yield f"group-that-reaches-everyone:{port if isinstance(port, int) else _target(port)}"


def _secret(properties: Properties) -> Iterator[str]:
    if "KmsKeyId" not in properties:
        yield "secret-without-a-key-of-its-own"
    held = json.dumps(properties.get("SecretString", ""))
    if held != '""' and "{{resolve:" not in held:
        yield "secret-in-the-template"
    yield "secret-without-rotation"


def _cache(properties: Properties) -> Iterator[str]:
    for name in ("TransitEncryptionEnabled", "AtRestEncryptionEnabled", "AutomaticFailoverEnabled"):
        if properties.get(name) is not True:
            yield f"cache-without-{name}"
    if "AuthToken" not in properties:
        yield "cache-without-a-password"


def _log(properties: Properties) -> Iterator[str]:
    if "RetentionInDays" not in properties:
        yield "log-kept-for-ever"
    if "KmsKeyId" not in properties:
        yield "log-without-a-key-of-its-own"


def _topic(properties: Properties) -> Iterator[str]:
    if "KmsMasterKeyId" not in properties:
        yield "topic-not-encrypted"


def _pool(properties: Properties) -> Iterator[str]:
    if not properties.get("AdminCreateUserConfig", {}).get("AllowAdminCreateUserOnly"):
        yield "pool-that-anybody-may-join"
    if properties.get("MfaConfiguration") != "ON":  # if it is optional, Cognito's own pages do not offer it
        yield "pool-without-a-second-factor"
    if properties.get("Policies", {}).get("PasswordPolicy", {}).get("MinimumLength", 8) < 12:
        yield "pool-with-short-passwords"


def _pool_client(properties: Properties) -> Iterator[str]:
    if properties.get("AllowedOAuthFlows") != ["code"]:
        yield "client-with-other-flows-than-code"
    if not properties.get("EnableTokenRevocation"):
        yield "client-without-revocation"


_KEPT = {"AWS::S3::Bucket", "AWS::Cognito::UserPool"}
_CHECKS: Mapping[str, tuple[Check, ...]] = {
    "AWS::Serverless::Function": (_function,),
    "AWS::IAM::Role": (_role,),
    "AWS::Serverless::Api": (_api,),
    "AWS::S3::Bucket": (_bucket,),
    "AWS::EC2::SecurityGroup": (_group,),
    "AWS::SecretsManager::Secret": (_secret,),
    "AWS::ElastiCache::ReplicationGroup": (_cache,),
    "AWS::Logs::LogGroup": (_log,),
    "AWS::SNS::Topic": (_topic,),
    "AWS::Cognito::UserPool": (_pool,),
    "AWS::Cognito::UserPoolClient": (_pool_client,),
}
