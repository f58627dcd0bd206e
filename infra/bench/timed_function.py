"""A function with timing, which the benchmark's containers run around the deployed one.

Beside the answer it returns the seconds of the function, and the CPU time of the function and of its whole process so
far: the difference is that of Lambda's runtime client, whatever is deployed.
"""

import importlib
import time
from typing import Any

_app = importlib.import_module("app")


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Call the deployed function."""
    began, began_cpu = time.perf_counter(), time.process_time()
    answer = _app.app(event, context)
    seconds, cpu_s = time.perf_counter() - began, time.process_time()
    return {"answer": answer, "seconds": seconds, "cpu_s": cpu_s - began_cpu, "process_cpu_s": cpu_s}
