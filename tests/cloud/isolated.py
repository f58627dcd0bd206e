"""A function's container without its runtime: runs what was deployed and nothing else (`python -I -S -B isolated.py`).

    isolated.py CODE ON_BOARD

CODE is the unzipped artifact, ON_BOARD a folder with what Lambda brings along. Reads invocations from standard input,
one JSON object a line (`function`, `event`), and writes to standard output what each returned, and the files imported
so far.
"""

import importlib
import json
import os
import sys
import traceback


class Context:
    """The context that Lambda passes to a function."""

    aws_request_id = "6f1f5a0e-0000-4000-8000-000000000000"
    function_name = "day-trading"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        """Return the remaining time."""
        return 25_000


def main() -> None:
    """Serve until standard input ends."""
    code, on_board = sys.argv[1:]
    sys.path[:0] = [code, on_board]  # without `site`, the rest is the standard library
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the app writes is its log
    app = importlib.import_module("app")
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"answer": getattr(app, asked["function"])(asked["event"], Context())}
        except Exception:  # noqa: BLE001  # as Lambda would: told to the caller
            answer = {"error": traceback.format_exc()}
        files = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
        answers.write(json.dumps({**answer, "files": sorted(files)}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
