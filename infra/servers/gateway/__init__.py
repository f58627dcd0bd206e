"""Our own HTTP server for the Chalice app: many requests on one thread, an adapter that speaks API Gateway's language.

server.py     the program: options, worker processes
worker.py     one process that serves: its event loop, its listening socket, its end
connection.py one connection: bytes to requests (llhttp), answers to bytes, limits in size and time
requests.py   a request before it is anything of API Gateway's
waiting.py    how a request waits: its greenlet steps aside, or a call is made on another thread
adapter.py    one request to one call of the app and back
events.py     a request to the event that API Gateway would send
routes.py     a path to the route and its parameters
isolation.py  a current request for each request under way
problems.py   the gateway's own answers
processors.py which processor a worker runs on
"""
