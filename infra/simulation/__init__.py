"""Many servers, a database and a cache beyond a network, simulated: whatever can happen in between them does.

scheduler.py  actors in virtual time, each in a process that can stand still or crash
waits.py      what the code that ships waits with, put into that time
mongod.py     a replica set: documents, what of them a majority has, and failovers
driver.py     MongoDB's driver, over the network
redis.py      Redis and its client
network.py    requests and answers on their way
storm.py      what goes wrong, drawn from a seed
schedule.py   clients and servers, and all that happens to them
judge.py      what must be true afterwards
"""
