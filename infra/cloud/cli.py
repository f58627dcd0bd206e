"""Deploy the stack to AWS, preview the changes, test it, roll it back, or remove it."""

import argparse
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3  # type: ignore[import-untyped]
from boto3.exceptions import Boto3Error  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.exceptions import ConnectionError as OfNetworkError
from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

from infra.cloud import smoke
from infra.cloud.artifact import ARCHITECTURES, CODE, RUNTIMES, Artifact, LambdaTarget, PackageError, package
from infra.cloud.people import ROLES, invite, pool_of
from infra.cloud.smoke import SmokeError
from infra.cloud.stack import CloudStack, ParameterError, Plan, StackError
from infra.cloud.upload import earlier, note_deployed, upload
from infra.host.arguments import add_examples, decimal
from infra.tokens import operator_token

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
_ERRORS_OF_AWS = (ClientError, BotoCoreError, Boto3Error, ResponseParserError)
_REFUSED = {
    "AuthFailure",
    "ExpiredToken",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}


class CloudUsageError(Exception):
    """The request cannot be started: wrong arguments, credentials or region."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns 0, 1 if AWS failed, 2 if it was not started, 130 if it was interrupted.
    """
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        done: int = options.run(options)
    except (CloudUsageError, ParameterError) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except (StackError, PackageError, SmokeError, *_ERRORS_OF_AWS) as error:
        print(error, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        goes_on = f"; what was begun in {_name(options)} goes on in AWS. The same command again waits for its end"
        print(f"\nno longer waiting{goes_on if 'stage' in options else ''}", file=sys.stderr)
        return INTERRUPTED
    return done


def _package(options: argparse.Namespace) -> int:
    made = _made(options.out, options)
    print(f"{made.code} ({made.code.stat().st_size / 1e6:.1f} MB)\n{made.template}")
    return OK


def _made(folder: Path, options: argparse.Namespace) -> Artifact:
    target = LambdaTarget(options.runtime, options.architecture)
    return package(folder, options.stage, target=target, ca_file=options.ca, python=options.python)


def _diff(options: argparse.Namespace) -> int:
    change = _packaged_change(options)
    if change.plan is not None:
        change.stack.drop(change.plan)
    return OK


def _deploy(options: argparse.Namespace) -> int:
    return _apply(_packaged_change(options), options)


def _rollback(options: argparse.Namespace) -> int:
    session, account = _session(options)
    found = earlier(_client(session, "s3"), account, session.region_name, _name(options))
    if found is None:
        raise CloudUsageError(
            f"no deployment of {_name(options)} before the present one is known: deploy an older commit"
        )
    return _apply(_planned(options, session, account, *found), options)


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of a stack to the template at `url`; its plan is None if nothing would change."""

    session: Any
    account: str
    stack: CloudStack
    url: str
    plan: Plan | None


def _apply(change: _Change, options: argparse.Namespace) -> int:
    stack, plan = change.stack, change.plan
    if plan is not None and not _agreed(options, f"apply this to {stack.name}"):
        stack.drop(plan)
        return OK
    outputs = {} if plan is None else stack.apply(plan)
    # Also if nothing changes: the run that made the change may have been interrupted before this.
    stack.protect()
    note_deployed(_client(change.session, "s3"), change.account, change.session.region_name, stack.name, change.url)
    for name, value in outputs.items():
        print(f"{name} = {value}")
    return OK


def _destroy(options: argparse.Namespace) -> int:
    session, _ = _session(options)
    stack = _stack(session, options)
    if stack.find() is None:
        print(f"there is no stack {stack.name}")
    elif _agreed(options, f"remove {stack.name}; the bucket of audit logs stays, and its pool of people if it has one"):
        stack.delete(unprotect=options.unprotect)
    return OK


def _invite(options: argparse.Namespace) -> int:
    session, _ = _session(options)
    stack = _stack(session, options)
    pool = pool_of(stack.find(), stack.name)
    user = invite(_client(session, "cognito-idp"), pool, options.email, options.role)
    print(f"{options.email} is {options.role} of {stack.name}, with the account {user}")
    return OK


def _smoke(options: argparse.Namespace) -> int:
    if urlsplit(options.url).scheme not in {"http", "https"}:
        raise CloudUsageError(f"{options.url!r} is not a URL: use the stack's output EndpointURL")
    token, secret = os.environ.get("LOADGEN_TOKEN"), os.environ.get("AUTH_SECRET")
    if not (token or secret):
        raise CloudUsageError("needs a token: set LOADGEN_TOKEN to an operator's, or AUTH_SECRET to what signs them")
    smoke.smoke(options.url, token or operator_token(str(secret), hours=1.0), lambda line: print(line, flush=True))
    return OK


def _packaged_change(options: argparse.Namespace) -> _Change:
    """Package and upload, print what would change, and return the change."""
    session, account = _session(options)
    with tempfile.TemporaryDirectory() as folder:
        if options.template is None:
            artifact = _made(Path(folder), options)
        else:
            artifact = Artifact(options.template.with_name(CODE), options.template)
        try:
            template, url = upload(_client(session, "s3"), account, session.region_name, artifact)
        except (OSError, ValueError) as error:
            raise CloudUsageError(f"{artifact.template}: {error}") from error
    return _planned(options, session, account, template, url)


def _planned(options: argparse.Namespace, session: Any, account: str, template: Any, url: str) -> _Change:
    stack = _stack(session, options)
    plan = stack.plan(template, url, _given(options.set), {"app": "day-trading", "stage": options.stage})
    if plan is None:
        print(f"{stack.name} is already as it should be")
    else:
        print(f"{stack.name} in {session.region_name} of account {account}:")
        print("\n".join(plan.changes) or "no resource changes, only parameters or tags")
    return _Change(session, account, stack, url, plan)


def _given(assignments: Sequence[str]) -> dict[str, str]:
    wrong = [text for text in assignments if "=" not in text]
    if wrong:
        raise CloudUsageError(f"--set takes NAME=VALUE: {', '.join(wrong)}")
    return {name: value for name, _, value in (text.partition("=") for text in assignments)}


def _session(options: argparse.Namespace) -> tuple[Any, str]:
    """Return boto3's session and its account, after checking the credentials."""
    try:
        session = boto3.Session(region_name=options.region)
        region = session.region_name
        if region is None:
            raise CloudUsageError("no region: name one with --region or AWS_REGION")
        if not _is_region(session, region):
            raise CloudUsageError(f"there is no region {region!r}")
        account: str = _client(session, "sts").get_caller_identity()["Account"]
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound, OSError) as error:
        if isinstance(error, OfNetworkError):  # boto3's network errors, some of which are also the system's
            raise
        raise CloudUsageError(
            f"no usable credentials for AWS ({error}): run `aws configure`, or set AWS_PROFILE"
        ) from error
    except ClientError as error:
        if error.response["Error"]["Code"] in _REFUSED:
            raise CloudUsageError(f"AWS does not take these credentials: {error}") from error
        raise
    return session, account


def _client(session: Any, service: str) -> Any:
    try:
        return session.client(service)
    except ValueError as error:  # boto3 raises nothing more specific for some of its variables
        raise CloudUsageError(
            f"a setting of boto3 is wrong ({error}): look at the variables AWS_* and ~/.aws/config"
        ) from error


def _is_region(session: Any, region: str) -> bool:
    return any(
        region in session.get_available_regions("cloudformation", partition)
        for partition in session.get_available_partitions()
    )


def _name(options: argparse.Namespace) -> str:
    return f"day-trading-{options.stage}"


def _stack(session: Any, options: argparse.Namespace) -> CloudStack:
    return CloudStack(
        _client(session, "cloudformation"),
        _name(options),
        say=lambda line: print(line, flush=True),
        pause=lambda: time.sleep(options.poll),
    )


def _agreed(options: argparse.Namespace, what: str) -> bool:
    if options.yes:
        return True
    if not sys.stdin.isatty():
        raise CloudUsageError(f"{what}? There is no terminal to ask on: give --yes")
    return input(f"{what}? [y/N] ").strip().lower() in {"y", "yes"}


def _stage(text: str) -> str:
    if re.fullmatch(_STAGE, text) is None:
        raise argparse.ArgumentTypeError(f"{text!r}: takes letters, digits and hyphens, 44 at most")
    return text


_PROG = "python -m infra.cloud"
_STAGE = "[A-Za-z0-9][A-Za-z0-9-]{0,43}"
"""A function's name begins with its stack's and has at most 64 characters."""
_SETTINGS = "--stage prod --set AlarmEmail=ops@example.com"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_PROG, description=__doc__)
    add_examples(parser, f"{_PROG} package", f"{_PROG} deploy {_SETTINGS}")
    commands = parser.add_subparsers(required=True)
    for name, run, told in (
        ("package", _package, "make the artifact and its template, and send nothing"),
        ("diff", _diff, "tell what a deployment would change"),
        ("deploy", _deploy, "tell what changes, and change it"),
        ("rollback", _rollback, "tell what the template before the present one changes, and go back to it"),
        ("destroy", _destroy, "remove the stack"),
        ("invite", _invite, "make somebody who may sign in, or give a role to who may already"),
    ):
        command = commands.add_parser(name, help=told, description=told)
        wanted = {"diff": _SETTINGS, "deploy": _SETTINGS, "invite": "ops@example.com --role operator"}
        add_examples(command, f"{_PROG} {name} {wanted.get(name, '--stage prod')}")
        command.set_defaults(run=run)
        if name == "invite":
            command.add_argument("email", metavar="EMAIL", help="Cognito sends the first password there")
            command.add_argument("--role", choices=ROLES, default="trader", help="(%(default)s)")
        command.add_argument(
            "--stage", type=_stage, default="prod", help="the stack is day-trading-STAGE (%(default)s)"
        )
        if name in {"package", "diff", "deploy"}:
            command.add_argument("--runtime", choices=RUNTIMES, default=LambdaTarget().runtime, help="(%(default)s)")
            command.add_argument(
                "--architecture", choices=ARCHITECTURES, default=LambdaTarget().architecture, help="(%(default)s)"
            )
            command.add_argument("--python", metavar="PATH", help="a Python of the runtime's version, for bytecode")
            command.add_argument("--ca", type=Path, metavar="FILE", help="also trust these authorities (PEM)")
        if name == "package":
            command.add_argument("--out", type=Path, default=Path(".data/cloud"), help="a folder (%(default)s)")
            continue
        command.add_argument("--region", default=os.environ.get("AWS_REGION"))
        command.add_argument(
            "--poll", type=decimal(0.01, 3_600, "seconds"), default=2.0, help="seconds between polls (%(default)g)"
        )
        if name != "invite":
            command.add_argument("--yes", action="store_true", help="do not ask for confirmation")
        if name in {"diff", "deploy", "rollback"}:
            command.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter")
        if name == "destroy":
            command.add_argument("--unprotect", action="store_true", help="also remove a protected stack")
        if name in {"diff", "deploy"}:
            command.add_argument("--template", type=Path, help="deploy this template instead of packaging")
    command = commands.add_parser("smoke", help="check that a deployed stack works", description=smoke.__doc__)
    add_examples(command, f"AUTH_SECRET=... {_PROG} smoke https://abc.execute-api.eu-west-3.amazonaws.com/api")
    command.set_defaults(run=_smoke)
    command.add_argument("url", metavar="URL", help="the stack's output EndpointURL")
    return parser
