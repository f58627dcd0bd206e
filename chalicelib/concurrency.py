"""Threads, locks, events and sleep, in one place.

The code is written for threads. The gateway makes it cooperative by patching the standard library before it is
imported, and a simulation replaces these names with its own. So nothing else in this package takes them from the
standard library (a test checks this), and callers look them up at use: `concurrency.sleep(0)`.
"""

import time
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Condition, Event, Lock, Semaphore, Thread

__all__ = ["Condition", "Event", "Lock", "Semaphore", "Thread", "ThreadPoolExecutor", "sleep", "wait"]

sleep = time.sleep
"""Waits for some seconds; 0 yields to other threads."""
