"""What a server does after its last request, before it exits."""

import sys


def finish_questions() -> None:
    """Wait for open questions to the quote source: their answers belong in the audit log.

    Only for an app whose runtime was made.
    """
    if (runtime := sys.modules.get("chalicelib.runtime")) is not None:
        runtime.finish_questions()
