"""Many servers and a database that loses answers, simulated: every interleaving of their steps can happen.

model.py     a store that promises no more than the real one, and whose network does its worst
baton.py     one of many threads runs at a time, and hands over where the simulation decides
schedule.py  clients, servers, crashes and late writes, in an order drawn from a seed
judge.py     what must be true afterwards
"""
