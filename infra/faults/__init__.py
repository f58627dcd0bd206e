"""A replay while everything breaks, and the proof that nothing was lost (docs/faults.md).

proxy.py     between the load generator and the system: keeps a pace, sends requests twice
cluster.py   the running system, and what can be done to it
breakages.py the faults, one by one
late.py, older.py, pressure.py, archiving.py
             what some of them need; archives are made all the time
run.py       which faults, in which order, and what is seen meanwhile
judge.py     what must be true afterwards; journals.py is its part that carries journals out
impact.py    what each fault did to the commands that were under way
report.py    the table, the page, the JSON
"""
