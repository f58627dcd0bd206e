"""How long a container of the artifact takes to start here: import and connections, then its first answer.

Runs the packaged code as `python -I -S -B`, as a container does, on a local stack of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.cloud.artifact import LambdaTarget, package
from infra.host.arguments import add_examples, positive
from infra.local.background import running_stack

_START = """
import json, sys, time
began = time.perf_counter()
sys.path.insert(0, sys.argv[1])
import app
made = time.perf_counter()
answer = app.app(json.loads(sys.argv[2]), None)
ended = time.perf_counter()
assert json.loads(answer["body"]) == {"status": "ok"}, answer
print(json.dumps([made - began, ended - made]), file=sys.stderr)
"""
_HEALTH = {
    **dict.fromkeys(("queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "body")),
    "headers": {},
    "stageVariables": None,
    "isBase64Encoded": False,
    "path": "/health",
    "requestContext": {"resourcePath": "/health", "httpMethod": "GET"},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.cloud.cold", description=__doc__)
    add_examples(parser, "python -m infra.cloud.cold --runs 7")
    parser.add_argument("--runs", type=positive, default=7, help="(%(default)s)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        folder, code = Path(place), Path(place, "code")
        artifact = package(folder / "artifact", "prod", target=LambdaTarget.here())
        with zipfile.ZipFile(artifact.code) as archive:
            archive.extractall(code)
        with running_stack(folder / "stack", "--trigger-seconds", "0") as stack:
            environment = {
                "PATH": os.environ["PATH"],
                "AWS_LAMBDA_FUNCTION_NAME": "cold",
                "MONGO_URI": stack.mongo_uri,
                "REDIS_URL": stack.redis_url,
                "QUOTE_SOURCE": "fixed:10.00",
                "AUTH_SECRET": "0" * 32,
                "DUMP_PLACE": str(folder),
            }
            figures = [start(code, environment) for _ in range(options.runs)]
    for name, values in zip(("import", "first answer"), zip(*figures, strict=True), strict=True):
        print(f"{name}: median {statistics.median(values):.3f} s, {min(values):.3f} to {max(values):.3f} s")
    print(f"both: median {statistics.median(map(sum, figures)):.3f} s over {options.runs} starts")
    return 0


def start(code: Path, environment: Mapping[str, str]) -> list[float]:
    """Start a container and return the seconds of its import, and of its first answer with all connections."""
    command = [sys.executable, "-I", "-S", "-B", "-c", _START, str(code), json.dumps(_HEALTH)]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=True)
    figures: list[float] = json.loads(done.stderr.splitlines()[-1])
    return figures


if __name__ == "__main__":
    sys.exit(main())
