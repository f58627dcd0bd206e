"""Run a program that dies when the process that started it dies, however that happens.

    python -I -S guard.py PARENT_PID [--on PROCESSOR,...] COMMAND [ARGUMENT...]

The stack's parts must not outlive it, not even when it is killed with SIGKILL and cannot stop them. Linux delivers
a signal to a process when its parent goes (prctl PR_SET_PDEATHSIG); the request survives exec, so this small
program makes it and then becomes the command. It is an exec in between, and not a `preexec_fn`, because code
between fork and exec is unsafe in a process with threads, and the database driver starts some.

The signal is SIGKILL: nothing may stay, not even a part that hangs, and both stores are built to survive it.
Two limits: "parent" means the parent's thread, so parts are started from a thread that lives as long as the stack
(the main one); and the request is not inherited by the part's own children, which make it for themselves.

`--on` keeps the program on some processors, by the kernel's numbers; those too survive exec.

It runs with only the standard library (-I -S), which keeps the detour under 20 ms.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Request SIGKILL for when the calling thread's parent `parent_pid` dies; exit at once if it is already dead."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it died before the request was made
        os._exit(1)


def guarded(*command: str) -> list[str]:
    """Return a command line that dies with this process; it must be started by the calling thread."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main() -> None:
    """Become the command; exits 127 if there is no such program."""
    parent_pid, *command = sys.argv[1:]
    die_with_parent(int(parent_pid))
    if command[0] == "--on":
        _, processors, *command = command
        os.sched_setaffinity(0, map(int, processors.split(",")))
    # The stack blocks the signals it waits for, and a mask survives exec; its parts must hear them.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.execvp(command[0], command)  # noqa: S606 - becoming the command is the point
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
