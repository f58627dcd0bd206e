"""Deterministic simulation: servers, a database and a cache over a network in which everything can go wrong.

scheduler.py  actors in virtual time, each in a process that can stall or crash
waits.py      the synchronization primitives of the shipped code, in virtual time
mongod.py     a replica set: documents, what a majority has of them, and failovers
driver.py     MongoDB's driver, over the network
redis.py      Redis and its client
network.py    requests and answers in flight
storm.py      what goes wrong, drawn from a seed
server.py     a server and its quote source
schedule.py   clients and servers, and everything that happens to them
judge.py      what must be true afterwards
"""
