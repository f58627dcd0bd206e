"""What code runs side by side and waits with, in one place: threads, locks, events and pauses.

The code is written for threads. The gateway makes the same code cooperative by patching the standard library before it
is imported, and a simulation may put its own things here. So nothing else in this package takes them from the standard
library (a test looks), and everybody looks them up when they are used: `concurrency.sleep(0)`.
"""

import time
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Condition, Event, Lock, Semaphore, Thread

__all__ = ["Condition", "Event", "Lock", "Semaphore", "Thread", "ThreadPoolExecutor", "sleep", "wait"]

sleep = time.sleep
"""Waits for some seconds; 0 lets all others go first who can go on."""
