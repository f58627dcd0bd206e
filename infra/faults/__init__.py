"""A replay under faults, and the proof that nothing was lost (docs/faults.md).

proxy.py     between the load generator and the system: sets the pace, sends requests twice
cluster.py   the running system, and what can be done to it
breakages.py the faults, one by one
late_requests.py, older_version.py, pressure.py, archiving.py
             used by some of the faults; archiving runs all the time
run.py       which faults, in which order, and what is observed meanwhile
judge.py     what must be true afterwards; journals.py replays the journals
impact.py    what each fault did to the commands in progress
report.py    the table, the page, the JSON
"""
