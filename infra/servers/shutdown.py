"""What is left to do when a server has answered all requests and stops."""

import sys


def finish_questions() -> None:
    """Wait for the questions to the quote source that are still open: their answers belong into the audit log.

    Only an app that has parts, and made them, has any.
    """
    if (runtime := sys.modules.get("chalicelib.runtime")) is not None:
        runtime.finish_questions()
