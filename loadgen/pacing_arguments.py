"""The arguments for pacing: when commands are sent and how long a run lasts."""

import argparse

from loadgen import values
from loadgen.run.pacing import Pacing
from loadgen.run.schedule import ConstantRate, Ramp, RecordedSchedule, Schedule, ScheduleError
from loadgen.workload.files import Workload


class UsageError(Exception):
    """Arguments that are invalid or cannot be combined."""


def pacing(options: argparse.Namespace, workload: Workload) -> Pacing:
    """Return when a workload's commands are sent. Raises UsageError."""
    schedule: Schedule | None = None
    durations = [] if options.duration is None else [options.duration]
    if options.speed is not None and options.pace != "recorded":
        raise UsageError("--speed is for --pace recorded")
    try:
        if options.rate is not None:
            schedule = ConstantRate(options.rate)
        elif options.ramp is not None:
            ramp: Ramp = options.ramp
            schedule = ramp
            durations.append(ramp.seconds)
        elif options.pace == "recorded":
            schedule = RecordedSchedule(workload.commands, options.speed or 1.0)
    except ScheduleError as error:
        raise UsageError(str(error)) from error
    if durations and options.warm_up >= min(durations):
        raise UsageError(
            f"a warm-up of {options.warm_up:g} s leaves nothing of a run of {min(durations):g} s to measure"
        )
    duration_s = min(durations, default=None)
    ends = [*durations, *([] if schedule is None else [schedule.end_s(workload.commands)])]
    return Pacing(schedule, duration_s, options.warm_up, min(ends, default=0.0))


def add_pacing(load: "argparse._ActionsContainer") -> None:
    """Add the arguments to a group."""
    pace = load.add_mutually_exclusive_group()
    pace.add_argument(
        "--rate",
        type=values.rate,
        metavar="N",
        help="open model: send N commands per second (default: closed model, as fast as answers come)",
    )
    pace.add_argument(
        "--ramp",
        type=values.ramp,
        metavar="LEGS",
        help="open model at changing rates: 0:500/30s,500/60s rises to 500/s within 30 s and stays there for 60 s",
    )
    pace.add_argument("--pace", choices=["recorded"], help="open model: send each line at its recorded time")
    load.add_argument("--speed", type=values.speed, metavar="F", help="with --pace recorded: F times as fast")
    load.add_argument(
        "--duration", type=values.duration, metavar="D", help="start no command after D, such as 30s, 5m or 1h"
    )
    load.add_argument(
        "--warm-up",
        type=values.duration,
        default=0.0,
        metavar="D",
        help="exclude the first D from the statistics",
    )
