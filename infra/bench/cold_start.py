"""How long a container of the artifact takes to start: import and secrets, then its first answer with connections.

Runs the packaged code with `python -I -S -B`, like a container.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.cloud.containers import ISOLATED

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


def start(code: Path, environment: Mapping[str, str], before: Sequence[str] = ()) -> list[float]:
    """Start a container; return the seconds of its import, and of its first answer with all connections.

    `before` is a prefix of its command line.
    """
    command = [*before, *ISOLATED, "-c", _START, str(code), json.dumps(_HEALTH)]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=True)
    figures: list[float] = json.loads(done.stderr.splitlines()[-1])
    return figures
