"""Our own HTTP server for the Chalice app: granian in front, an adapter that speaks API Gateway's language behind it.

server.py    the program: granian's processes and threads, options, signals
adapter.py   one WSGI request to one call of the app and back
events.py    a WSGI environ to the event that API Gateway would send
routes.py    a path to the route and its parameters
isolation.py a current request for each thread
problems.py  the gateway's own answers
"""
