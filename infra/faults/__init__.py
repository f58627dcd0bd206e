"""A replay while everything breaks, and the proof that nothing was lost (docs/faults.md).

front.py     between the load generator and the system: keeps a pace, sends requests twice
site.py      the running system, and what can be done to it
breakages.py the faults, one by one
run.py       which faults, in which order, and what is seen meanwhile
judge.py     what must be true afterwards
effects.py   what each fault did to the commands that were under way
report.py    the table, the page, the JSON
"""
